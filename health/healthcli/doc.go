// Package healthcli is the health command that any service can mount: it runs
// the checks once, prints what is wrong, tells people, and ends with an exit code
// that monitoring systems know.
//
//	cmd := &healthcli.Command{
//		Name:     "pos health",
//		Registry: func(ctx context.Context) (*health.Registry, error) { … },
//		Notifier: func() (notify.Notifier, error) { return notify.NewEmailFromURL(smtp, nil) },
//		Alert:    alert.Options{Store: alert.File("/var/lib/pos/alerts.json")},
//	}
//	os.Exit(cmd.Run(ctx, os.Args[2:]))
//
// The exit codes are those of Nagios plug-ins: 0 pass, 1 warn, 2 fail, 3 could
// not run. Without --verbose nothing is printed while all is well, so that cron
// stays quiet.
package healthcli
