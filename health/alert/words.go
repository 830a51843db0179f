package alert

import (
	"fmt"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/notify"
)

// words are the texts of one language.
type words struct {
	code string
	// tags stand in brackets before a subject.
	unhealthy, degraded, recovered, flapping, lost, restarts, ended string
	faces                                                           map[face]string
	critical, isNew, worse, better, changed, silenced               string
	more, stillBad, wasCritical, after, lasting, on                 string
	since, seenBy, runbook, values, warnAt, failAt                  string
	acknowledge, closeIt, silence, status                           string
	alsoOpen, consequences, passing, needs, notSeen, ackedBy        string
	headRecovered, headEnded, headBad, headReminder, headStill      string
	lostText, stoppedText, restartText                              string
	endings                                                         map[string]string
	nextReminder, muted, alone, becauseOf                           string
	seconds, minutes, hours, days                                   string
	months                                                          []string
	restartAgain, backAgain                                         string
}

var languages = map[string]*words{
	"en": {
		code:      "en",
		unhealthy: "UNHEALTHY", degraded: "DEGRADED", recovered: "RECOVERED", flapping: "FLAPPING", lost: "LOST", restarts: "RESTARTED", ended: "CLOSED",
		faces:    map[face]string{warn: "WARN", fail: "FAIL", flapping: "FLAPPING", lost: "LOST", restarts: "RESTARTS"},
		critical: "critical", isNew: "NEW", worse: "WORSE", better: "BETTER", changed: "CHANGED", silenced: "silenced",
		more: "(and %d more)", stillBad: "still bad: %s", wasCritical: "no longer critical", after: "after %s", lasting: "for %s", on: "%s on %s",
		since: "since %s (%s)", seenBy: "seen by %s", runbook: "Runbook", values: "%s %s", warnAt: "warn at %s", failAt: "fail at %s",
		acknowledge: "Acknowledge", closeIt: "Close", silence: "Silence for 2 h", status: "Status page",
		alsoOpen: "Still open", consequences: "Consequences", passing: "Passing", needs: "%s (needs %s)", notSeen: "No longer reported", ackedBy: "acknowledged by %s",
		headRecovered: "%s recovered after %s (%s to %s).", headEnded: "The alert about %s ended: %s.",
		headBad: "%s: %s", headReminder: "Reminder: %s", headStill: "%s is still bad.",
		lostText:    "The instance sent no heartbeat after %s and did not shut down. Nobody knows how the check is now. The alert stays open until the instance reports again or a person acknowledges it.",
		stoppedText: "The instance was shut down at %s while the check was bad. Nobody has seen the check pass since.",
		restartText: "The process ended without shutting down, %d times within the last hour: a crash, a kill, no memory or no power.",
		endings: map[string]string{
			stopped: "the instance was shut down and did not come back", unreported: "no instance reports it any more, and none saw it pass", closed: "closed by %s",
		},
		nextReminder: "Next reminder at %s if nothing changes.", muted: "This is message %d within an hour: only critical alerts are sent until %s. See the status page.",
		becauseOf: "It depends on %s, which is bad too.",
		alone:     "The instances cannot see each other's messages at the moment; this one may be duplicated.",
		seconds:   "%d s", minutes: "%d min", hours: "%d h", days: "%d days",
		restartAgain: "it has run for an hour without a further one", backAgain: "%s reports again after %s.",
	},
	"es": {
		code:      "es",
		unhealthy: "CAÍDO", degraded: "DEGRADADO", recovered: "RECUPERADO", flapping: "INESTABLE", lost: "PERDIDO", restarts: "REINICIADO", ended: "CERRADO",
		faces:    map[face]string{warn: "AVISO", fail: "FALLO", flapping: "INESTABLE", lost: "PERDIDO", restarts: "REINICIOS"},
		critical: "crítico", isNew: "NUEVO", worse: "PEOR", better: "MEJOR", changed: "CAMBIO", silenced: "silenciado",
		more: "(y %d más)", stillBad: "sigue mal: %s", wasCritical: "ya no es crítico", after: "después de %s", lasting: "desde hace %s", on: "%s en %s",
		since: "desde %s (%s)", seenBy: "visto por %s", runbook: "Guía", values: "%s %s", warnAt: "aviso en %s", failAt: "fallo en %s",
		acknowledge: "Confirmar", closeIt: "Cerrar", silence: "Silenciar 2 h", status: "Página de estado",
		alsoOpen: "Siguen abiertas", consequences: "Consecuencias", passing: "Correctas", needs: "%s (necesita %s)", notSeen: "Sin informe", ackedBy: "confirmado por %s",
		headRecovered: "%s se recuperó después de %s (%s a %s).", headEnded: "La alerta sobre %s terminó: %s.",
		headBad: "%s: %s", headReminder: "Recordatorio: %s", headStill: "%s sigue mal.",
		lostText:    "La instancia no dio señales después de %s y no se apagó de forma ordenada. Nadie sabe cómo está ahora. La alerta sigue abierta hasta que la instancia informe de nuevo o una persona la confirme.",
		stoppedText: "La instancia se apagó a las %s mientras la comprobación fallaba. Nadie la ha visto correcta desde entonces.",
		restartText: "El proceso terminó sin apagarse, %d veces en la última hora: un fallo, un kill, falta de memoria o de corriente.",
		endings: map[string]string{
			stopped: "la instancia se apagó y no volvió", unreported: "ninguna instancia informa ya, y ninguna la vio correcta", closed: "cerrada por %s",
		},
		nextReminder: "Próximo recordatorio a las %s si nada cambia.", muted: "Este es el mensaje %d en una hora: hasta las %s solo se envían alertas críticas. Vea la página de estado.",
		becauseOf: "Depende de %s, que también está mal.",
		alone:     "Ahora las instancias no ven los mensajes de las otras; este puede estar duplicado.",
		seconds:   "%d s", minutes: "%d min", hours: "%d h", days: "%d días",
		months:       []string{"ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"},
		restartAgain: "lleva una hora sin otro reinicio", backAgain: "%s informa de nuevo después de %s.",
	},
}

func wordsOf(language string) (*words, error) {
	if w := languages[language]; w != nil {
		return w, nil
	}
	return nil, fmt.Errorf("alert: there is no language %q: use \"en\" or \"es\", or Templates", language)
}

// roughly formats a duration in everyday form.
func (w *words) roughly(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 90*time.Second:
		return fmt.Sprintf(w.seconds, int(d.Seconds()))
	case d < 90*time.Minute:
		return fmt.Sprintf(w.minutes, int(d.Round(time.Minute).Minutes()))
	case d < 36*time.Hour:
		return fmt.Sprintf(w.hours, int(d.Round(time.Hour).Hours()))
	}
	return fmt.Sprintf(w.days, int(d.Round(24*time.Hour).Hours()/24))
}

// clock formats a time, with the day if it is not recent.
func (w *words) clock(t, now time.Time, in *time.Location) string {
	t = t.In(in)
	if now.Sub(t) < 20*time.Hour && t.Sub(now) < 20*time.Hour {
		return t.Format("15:04 MST")
	}
	month := t.Format("Jan")
	if w.months != nil {
		month = w.months[t.Month()-1]
	}
	return fmt.Sprintf("%d %s %s", t.Day(), month, t.Format("15:04 MST"))
}

// value formats a measurement and its thresholds.
func (w *words) value(v notify.Value) string {
	number := func(f float64) string { // 78600000000 instead of 7.86e+10
		if f == float64(int64(f)) {
			return fmt.Sprintf("%d", int64(f))
		}
		return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", f), "0"), ".")
	}
	name := strings.TrimSpace(v.Name + " " + v.Component)
	text := fmt.Sprintf(w.values, name, strings.TrimSpace(number(v.Value)+" "+v.Unit))
	var limits []string
	if v.Warn != 0 {
		limits = append(limits, fmt.Sprintf(w.warnAt, number(v.Warn)))
	}
	if v.Fail != 0 {
		limits = append(limits, fmt.Sprintf(w.failAt, number(v.Fail)))
	}
	if len(limits) > 0 {
		text += " (" + strings.Join(limits, ", ") + ")"
	}
	return text
}
