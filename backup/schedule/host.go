package schedule

import "github.com/mainstay-go/mainstay/internal/hostschedule"

// HostJob is a command that the host's own scheduler shall start: its texts are
// [HostJob.Systemd], [HostJob.Crontab], [HostJob.WindowsTask] and
// [HostJob.PowerShell], and [HostJob.Plan] says where each belongs. Nothing is
// written to the host. Use it where the process that makes backups does not run
// all the time; where it does, use a [Scheduler].
//
// Its fields are Name, Description, Command, Cadence, User, Dir, EnvironmentFile
// and Timeout. A secret belongs into EnvironmentFile, never into Command.
type HostJob = hostschedule.Job

// HostPlan is what installs a [HostJob]: files to write and commands to run.
type HostPlan = hostschedule.Plan

// HostFile is a file of a [HostPlan].
type HostFile = hostschedule.File

// HostCadence is how often a [HostJob] runs: see [HostDaily] and [HostHourly].
type HostCadence = hostschedule.Cadence

// The targets of [HostJob.Plan].
const (
	HostSystemd = hostschedule.Systemd
	HostCron    = hostschedule.Cron
	HostWindows = hostschedule.Windows
)

// HostDaily is once a day at the given time of the host's clock. systemd leaves
// out the day on which the clock jumps over that time; [Daily] does not.
func HostDaily(hour, minute int) HostCadence { return hostschedule.Daily(hour, minute) }

// HostHourly is once an hour at the given minute, as a health check wants it.
func HostHourly(minute int) HostCadence { return hostschedule.Hourly(minute) }
