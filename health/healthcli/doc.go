// Package healthcli is a health command that any service can mount. It runs the checks
// once, prints the problems, sends notifications, and ends with an exit code for
// monitoring systems.
//
//	cmd := &healthcli.Command{
//		Name:     "pos health",
//		Registry: func(ctx context.Context) (*health.Registry, error) { … },
//		Notifier: func() (notify.Notifier, error) { return notify.NewEmailFromURL(smtp, nil) },
//		Alert:    alert.Options{Store: alert.File("/var/lib/pos/alerts.json")},
//	}
//	os.Exit(cmd.Run(ctx, os.Args[2:]))
//
// The exit codes are those of Nagios plug-ins: 0 pass, 1 warn, 2 fail, 3 could not run.
// Without --verbose the command prints only problems, so that cron sends no mail while
// all is well.
package healthcli
