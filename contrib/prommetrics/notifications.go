package prommetrics

import "github.com/prometheus/client_golang/prometheus"

// Notifications returns a collector of the messages sent over a channel. The name of the
// channel, such as "mail", is a label:
//
//	health_notifications_total{channel,result}    sent, failed
//
// The counts come from an alert.Alerter or a notify.Spool. This package does not import
// them, so that a metric does not link a mail client:
//
//	prommetrics.Notifications("mail", func() (sent, failed uint64) {
//		s := alerts.Stats()
//		return s.Sent, s.Failed
//	})
func Notifications(channel string, counts func() (sent, failed uint64)) prometheus.Collector {
	return notificationCollector{
		// The channel is part of the description, so that each channel can be registered
		// separately.
		desc: prometheus.NewDesc("health_notifications_total", "Deliveries of messages by result.",
			[]string{"result"}, prometheus.Labels{"channel": channel}),
		counts: counts,
	}
}

type notificationCollector struct {
	desc   *prometheus.Desc
	counts func() (sent, failed uint64)
}

// Describe implements prometheus.Collector.
func (c notificationCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c notificationCollector) Collect(ch chan<- prometheus.Metric) {
	sent, failed := c.counts()
	for result, n := range map[string]uint64{"sent": sent, "failed": failed} {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(n), result)
	}
}
