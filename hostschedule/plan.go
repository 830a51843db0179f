package hostschedule

import "fmt"

// The targets of [Job.Plan].
const (
	Systemd = "systemd"
	Cron    = "cron"
	Windows = "windows"
)

// Plan has the steps for the installation of a job: write each file to its path (mode 0644),
// then run the commands.
type Plan struct {
	Files    []File
	Commands [][]string
}

// File is a file of a plan. Its text is ASCII if its reader guesses encodings.
type File struct {
	Path string // absolute; for Windows only a name, because any folder works
	Text string
}

// Plan returns the installation of the job on a target: [Systemd], [Cron] or [Windows].
func (j Job) Plan(target string) (Plan, error) {
	switch target {
	case Systemd:
		service, timer, err := j.Systemd()
		if err != nil {
			return Plan{}, err
		}
		unit := "/etc/systemd/system/" + j.Name
		return Plan{
			Files:    []File{{unit + ".service", service}, {unit + ".timer", timer}},
			Commands: [][]string{{"systemctl", "daemon-reload"}, {"systemctl", "enable", "--now", j.Name + ".timer"}},
		}, nil
	case Cron:
		if j.User == "" {
			j.User = "root"
		}
		text, err := j.Crontab()
		if err != nil {
			return Plan{}, err
		}
		return Plan{Files: []File{{"/etc/cron.d/" + j.Name, text}}}, nil
	case Windows:
		text, err := j.WindowsTask()
		if err != nil {
			return Plan{}, err
		}
		return Plan{
			Files:    []File{{j.Name + ".xml", text}},
			Commands: [][]string{{"schtasks", "/Create", "/TN", j.Name, "/XML", j.Name + ".xml", "/F"}},
		}, nil
	default:
		return Plan{}, fmt.Errorf("hostschedule: unknown target %q: choose %s, %s or %s", target, Systemd, Cron, Windows)
	}
}
