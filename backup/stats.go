package backup

import (
	"sync"
	"time"
)

// Stats counts the work of a [Job] in this process since it was created. [Job.History] has
// the runs of all processes.
type Stats struct {
	Running    bool          // a backup is running in this process
	Runs       uint64        // backups that were started and have ended, with or without an error
	Good       uint64        // runs without an error
	Failed     uint64        // runs that published no backup, except those that found the lock held
	Incomplete uint64        // runs that published a backup, with a problem
	Locked     uint64        // runs that found the lock held
	FailedAt   StageCounts   // the stages in which Failed and Incomplete runs failed
	RawBytes   uint64        // size of the dumps of published backups
	Bytes      uint64        // stored size of published backups
	Rows       uint64        // in published backups
	Deleted    uint64        // backups that retention removed
	LastTook   time.Duration // duration of the last run that ended
	LastDump   time.Duration // duration of the last dump that succeeded
	LastRun    time.Time     // start of the last run; zero if there was none
	LastGood   time.Time     // start of the last good run
}

// StageCounts has one count for each stage.
type StageCounts struct {
	// Each field counts the Failed and Incomplete runs whose first failure was in this stage.
	// Lock does not include the runs that found the lock held.
	Lock, Sweep, Preflight, Dump, Publish, Verify, Scrub, Replicate, Retain uint64
}

func (c *StageCounts) count(stage string) {
	switch stage {
	case "lock":
		c.Lock++
	case "sweep":
		c.Sweep++
	case "preflight":
		c.Preflight++
	case "dump":
		c.Dump++
	case "publish":
		c.Publish++
	case "verify":
		c.Verify++
	case "scrub":
		c.Scrub++
	case "replicate":
		c.Replicate++
	case "retain":
		c.Retain++
	}
}

// counters holds the Stats of a job.
type counters struct {
	mu      sync.Mutex
	running int
	stats   Stats
}

func (c *counters) end(r Run, locked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	s := &c.stats
	s.Runs++
	s.LastRun, s.LastTook = r.Time, time.Duration(r.TookMS)*time.Millisecond
	switch {
	case r.OK:
		s.Good++
		s.LastGood = r.Time
	case locked:
		s.Locked++
	default:
		s.FailedAt.count(r.Stage)
		if r.Published {
			s.Incomplete++
		} else {
			s.Failed++
		}
	}
	if r.Published {
		s.RawBytes += uint64(r.RawSize)
		s.Bytes += uint64(r.Size)
		s.Rows += uint64(r.Rows)
	}
	s.Deleted += uint64(len(r.Deleted))
	for _, stage := range r.Stages {
		if stage.Name == "dump" && stage.OK {
			s.LastDump = time.Duration(stage.TookMS) * time.Millisecond
		}
	}
}

// Stats returns the counts of the job so far.
func (j *Job) Stats() Stats {
	j.counters.mu.Lock()
	defer j.counters.mu.Unlock()
	s := j.counters.stats
	s.Running = j.counters.running > 0
	return s
}
