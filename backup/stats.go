package backup

import (
	"sync"
	"time"
)

// Stats is what a [Job] has done since it was made, in this process alone. What all
// processes have done is in [Job.History].
type Stats struct {
	Running    bool        // a backup is under way here
	Runs       uint64      // backups that were begun and have ended, well or not
	Good       uint64      // those that went well
	Failed     uint64      // those that published nothing; not those that were locked out
	Incomplete uint64      // those that published a backup, with a problem
	Locked     uint64      // those that another run locked out
	FailedAt   StageCounts // where Failed and Incomplete ones ended
	RawBytes   uint64      // dumped into published backups
	Bytes      uint64      // stored as published backups
	Rows       uint64      // in published backups
	Deleted    uint64      // backups that retention removed
	LastTook   time.Duration
	LastDump   time.Duration // the stage dump of the last run that came to its end
	LastRun    time.Time     // when the last run began; zero if there was none
	LastGood   time.Time     // when the last good one began
}

// StageCounts counts by stage.
type StageCounts struct {
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

// counters are the Stats of a job.
type counters struct {
	mu      sync.Mutex
	running int
	stats   Stats
}

func (c *counters) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
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

// Stats returns what the job has done so far.
func (j *Job) Stats() Stats {
	j.counters.mu.Lock()
	defer j.counters.mu.Unlock()
	s := j.counters.stats
	s.Running = j.counters.running > 0
	return s
}
