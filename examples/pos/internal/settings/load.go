package settings

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Error is a setting that cannot be used. The command prints the text of the error and exits
// with status 2.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

// Errorf returns an Error.
func Errorf(format string, args ...any) *Error {
	return &Error{text: fmt.Sprintf(format, args...)}
}

// Load reads the settings among args and the environment. It returns the other arguments in
// order. A flag may have one dash or two, "=" or a blank before the value, and may stand before
// or after other arguments. "--" ends the flags.
func Load(args []string, getenv func(string) string) (*Settings, []string, error) {
	s := Default()
	all := options(s)
	given := map[string]string{}
	var rest []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			rest = append(rest, args[i:]...)
			break
		}
		name, value, hasValue := splitFlag(args[i])
		k := slices.IndexFunc(all, func(o option) bool { return name != "" && o.flag == name })
		switch {
		case k < 0:
			rest = append(rest, args[i])
			continue
		case hasValue:
		case name == "demo" && (i+1 == len(args) || onOff(new(bool))(args[i+1]) != nil):
			value = "on" // a switch needs no value
		case i+1 == len(args):
			return nil, nil, Errorf("--%s needs a value: --%s %s", name, name, all[k].value)
		default:
			i++
			value = args[i]
		}
		given[name] = value
	}
	for _, o := range all {
		source := "--" + o.flag
		value, ok := given[o.flag]
		if !ok {
			if source, value = o.env, getenv(o.env); value == "" {
				continue
			}
		}
		if err := o.set(value); err != nil {
			if o.secret {
				return nil, nil, Errorf("%s: %s", source, oneLine(err))
			}
			return nil, nil, Errorf("%s %q: %s", source, value, oneLine(err))
		}
	}
	return s, rest, nil
}

// serviceLinks are the variables that Kubernetes sets in every pod beside a service named pos.
var serviceLinks = regexp.MustCompile(`^POS_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)`)

// Unknown returns the names in an environment that begin as those of the settings do, but are
// none.
func Unknown(environ []string) (names []string) {
	all := options(Default())
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		known := slices.ContainsFunc(all, func(o option) bool { return o.env == name })
		if strings.HasPrefix(name, "POS_") && !known && !serviceLinks.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

// Empty returns the names of the settings that an environment sets to nothing. They are ignored:
// a secret that is missing would otherwise change the shop without a word.
func Empty(environ []string) (names []string) {
	all := options(Default())
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if value == "" && slices.ContainsFunc(all, func(o option) bool { return o.env == name }) {
			names = append(names, name)
		}
	}
	return names
}

// splitFlag splits "--name=value". The name is "" if arg is not a flag.
func splitFlag(arg string) (name, value string, hasValue bool) {
	if len(arg) < 2 || arg[0] != '-' {
		return "", "", false
	}
	return strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

// WriteHelp lists the settings with the given flag names, or all settings without names.
func WriteHelp(w io.Writer, names ...string) {
	for _, o := range options(Default()) {
		if len(names) > 0 && !slices.Contains(names, o.flag) {
			continue
		}
		name := "(only a variable)"
		if o.flag != "" {
			name = "--" + o.flag + " " + o.value
		}
		fmt.Fprintf(w, "  %-28s %s\n  %-28s   %s; default: %s\n", name, o.help, "", o.env, o.def)
	}
}

// TakesNext reports whether args begins with a setting whose value is the next argument.
func TakesNext(args []string) bool {
	name, _, hasValue := splitFlag(args[0])
	known := slices.ContainsFunc(options(Default()), func(o option) bool { return name != "" && o.flag == name })
	if !known || hasValue || len(args) < 2 {
		return false
	}
	return name != "demo" || onOff(new(bool))(args[1]) == nil
}
