package alert

import (
	"fmt"
	htmltemplate "html/template"
	"strings"
	"text/template"
	"time"

	"github.com/mainstay-go/mainstay/notify"
)

// Templates replace the texts of messages. Each template gets a [Content]. An empty one
// keeps the text of the language. New rejects a template that cannot be parsed or that
// fails on an example. If a template fails on a message, the message has the texts of the
// language, and the failure is logged.
type Templates struct {
	// Subject and Text are templates of text/template.
	Subject, Text string
	// HTML is a template of html/template, which escapes the inserted values.
	HTML string
}

// texts are parsed templates.
type texts struct {
	subject, text *template.Template
	html          *htmltemplate.Template
}

var standardTexts = &texts{text: plainText, html: htmlText}

func parseTexts(t *Templates) (*texts, error) {
	x := &texts{text: plainText, html: htmlText}
	if t == nil {
		return x, nil
	}
	var err error
	if t.Subject != "" {
		if x.subject, err = template.New("subject").Parse(t.Subject); err != nil {
			return nil, fmt.Errorf("alert: Templates.Subject: %w", err)
		}
	}
	if t.Text != "" {
		if x.text, err = template.New("text").Parse(t.Text); err != nil {
			return nil, fmt.Errorf("alert: Templates.Text: %w", err)
		}
	}
	if t.HTML != "" {
		if x.html, err = htmltemplate.New("html").Parse(t.HTML); err != nil {
			return nil, fmt.Errorf("alert: Templates.HTML: %w", err)
		}
	}
	sample := Item{
		Name: "database", Mark: "NEW", State: "FAIL", Times: "since 10:00 UTC (2 min)", Output: "no answer", Values: []string{"connections 90 (warn at 80)"},
		Runbook: "https://wiki.example.org/db", Links: []notify.Link{{Name: "Acknowledge", URL: "https://pos.example.org/alerts"}},
		Alert: notify.Alert{Check: "database", Level: notify.Critical, Since: time.Unix(0, 0)},
	}
	example := &Content{
		Language: "en", Service: "pos", Tag: "UNHEALTHY", Level: notify.Critical, Subject: "[UNHEALTHY] pos: database",
		News: []Item{sample}, Open: []Item{sample}, Consequences: []string{"x"}, Passing: []string{"y"}, Notes: []string{"z"}, Link: "https://pos.example.org",
	}
	if err := x.write(&notify.Message{}, example); err != nil {
		return nil, fmt.Errorf("alert: Templates fail on an example: %w", err)
	}
	return x, nil
}

// write fills the texts of a message.
func (x *texts) write(m *notify.Message, c *Content) error {
	if x.subject != nil {
		var b strings.Builder
		if err := x.subject.Execute(&b, c); err != nil {
			return fmt.Errorf("alert: the template of the subject: %w", err)
		}
		m.Subject = b.String()
		c.Subject = m.Subject
	}
	var b strings.Builder
	if err := x.text.Execute(&b, c); err != nil {
		return fmt.Errorf("alert: the template of the text: %w", err)
	}
	m.Text = strings.Trim(b.String(), "\n")
	b.Reset()
	if err := x.html.Execute(&b, c); err != nil {
		return fmt.Errorf("alert: the template of the HTML: %w", err)
	}
	m.HTML = b.String()
	return nil
}

var plainText = template.Must(template.New("text").Funcs(template.FuncMap{"join": strings.Join}).Parse(`
{{- define "item"}}{{with .Mark}}{{.}} {{end}}{{.Name}}: {{.State}}{{if .Alert.Ended.IsZero}} {{.Times}}{{end}}
{{- if not .Alert.Ended.IsZero}}
    {{.Times}}{{end}}
{{- with .Explanation}}
    {{.}}{{end}}
{{- with .Output}}
    {{.}}{{end}}
{{- range .Values}}
    {{.}}{{end}}
{{- end -}}
{{range .News}}{{template "item" .}}
{{- with .Runbook}}
    {{$.RunbookLabel}}: {{.}}{{end}}
{{- range .Links}}
    {{.Name}}: {{.URL}}{{end}}
{{end}}
{{- if .Open}}
{{.OpenLabel}}:
{{range .Open}}{{template "item" .}}
{{end}}{{end}}
{{- with .Consequences}}
{{$.ConsequencesLabel}}: {{join . ", "}}
{{end}}
{{- with .Passing}}
{{$.PassingLabel}}: {{join . ", "}}
{{end}}
{{- range .Notes}}
{{.}}
{{end}}`))

// htmlText suits mail programs: it uses inline styles and no images, and is readable
// without styles. The state is a word, a color and a heading.
var htmlText = htmltemplate.Must(htmltemplate.New("html").Parse(`<!DOCTYPE html>
<html lang="{{.Language}}"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>{{.Subject}}</title></head>
<body style="font-family:system-ui,sans-serif;font-size:16px;line-height:1.4">
{{with index .News 0}}<h1 style="margin:0 0 .75em;padding:.4em .6em;font-size:18px;color:#ffffff;background-color:{{.Color}}">{{$.Subject}}</h1>{{end}}
{{- define "item"}}<h2 style="margin:0;font-size:16px">{{with .Mark}}<span style="border:1px solid;padding:0 .3em">{{.}}</span> {{end}}{{.Name}}: <span style="color:{{.Color}}">{{.State}}</span></h2>
<p style="margin:0">{{.Times}}{{with .Explanation}}<br>{{.}}{{end}}{{with .Output}}<br>{{.}}{{end}}{{range .Values}}<br>{{.}}{{end}}</p>{{end}}
{{range .News}}<div style="margin:0 0 1em;padding-left:.75em;border-left:4px solid {{.Color}}">
{{template "item" .}}{{if or .Runbook .Links}}<p style="margin:.3em 0 0">{{with .Runbook}}<a href="{{.}}">{{$.RunbookLabel}}</a> {{end}}{{range .Links}}<a href="{{.URL}}">{{.Name}}</a> {{end}}</p>{{end}}</div>
{{end}}{{if .Open}}<p>{{.OpenLabel}}:</p>
{{range .Open}}<div style="margin:0 0 1em;padding-left:.75em;border-left:4px solid {{.Color}}">{{template "item" .}}</div>
{{end}}{{end}}{{with .Consequences}}<p>{{$.ConsequencesLabel}}: {{range $i, $x := .}}{{if $i}}, {{end}}{{$x}}{{end}}</p>
{{end}}{{with .Passing}}<p>{{$.PassingLabel}}: {{range $i, $x := .}}{{if $i}}, {{end}}{{$x}}{{end}}</p>
{{end}}{{range .Notes}}<p>{{.}}</p>
{{end}}{{with .Link}}<p><a href="{{.}}">{{$.LinkLabel}}</a></p>
{{end}}</body></html>
`))
