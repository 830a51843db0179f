package schedule

import "github.com/mainstay-go/mainstay/internal/hostschedule"

// HostJob is a command that the scheduler of the host starts. [HostJob.Systemd],
// [HostJob.Crontab], [HostJob.WindowsTask] and [HostJob.PowerShell] return the
// configuration texts. [HostJob.Plan] says where to install them. HostJob writes no files
// on the host. Use it if the process that makes backups does not run permanently. Otherwise
// use a [Scheduler].
//
// Its fields are Name, Description, Command, Cadence, User, Dir, EnvironmentFile and
// Timeout. Put secrets in EnvironmentFile, never in Command.
type HostJob = hostschedule.Job

// HostPlan lists the files to write and the commands to run to install a [HostJob].
type HostPlan = hostschedule.Plan

// HostFile is a file of a [HostPlan].
type HostFile = hostschedule.File

// HostCadence is the frequency of a [HostJob]: see [HostDaily] and [HostHourly].
type HostCadence = hostschedule.Cadence

// The targets of [HostJob.Plan].
const (
	HostSystemd = hostschedule.Systemd
	HostCron    = hostschedule.Cron
	HostWindows = hostschedule.Windows
)

// HostDaily is once a day at the given time of the host's clock. If the clock skips that
// time, systemd skips the day. [Daily] does not.
func HostDaily(hour, minute int) HostCadence { return hostschedule.Daily(hour, minute) }

// HostHourly is once an hour at the given minute, for example for a health check.
func HostHourly(minute int) HostCadence { return hostschedule.Hourly(minute) }
