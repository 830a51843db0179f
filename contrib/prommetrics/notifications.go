package prommetrics

import "github.com/prometheus/client_golang/prometheus"

// Notifications returns a collector of the messages that went out over a channel,
// whose name is the label, such as "mail":
//
//	health_notifications_total{channel,result}    sent, failed
//
// The counts are those of an alert.Alerter or a notify.Spool, which are not
// imported here so that nobody links a mail client for a metric:
//
//	prommetrics.Notifications("mail", func() (sent, failed uint64) {
//		s := alerts.Stats()
//		return s.Sent, s.Failed
//	})
func Notifications(channel string, counts func() (sent, failed uint64)) prometheus.Collector {
	return notificationCollector{
		// The channel is part of the description: each may be registered by itself.
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
