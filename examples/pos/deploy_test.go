package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/mainstay-go/mainstay/examples/pos/internal/command"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

func deployFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documents reads all documents of a YAML file.
func documents(t *testing.T, name string) (list []map[string]any) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(deployFile(t, name))); ; {
		var one map[string]any
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list = append(list, one)
	}
}

// at follows a path of keys and indexes.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch s := step.(type) {
		case string:
			v = v.(map[string]any)[s]
		case int:
			v = v.([]any)[s]
		}
		if v == nil {
			t.Fatalf("nothing at %v", path)
		}
	}
	return v
}

// TestDeploymentSettings looks up the variables of all deployment files in the help.
func TestDeploymentSettings(t *testing.T) {
	var help bytes.Buffer
	if code := command.Run(t.Context(), command.Env{Getenv: func(string) string { return "" }, Stdout: &help, Stderr: io.Discard}, []string{"-h"}); code != 0 {
		t.Fatalf("-h: %d", code)
	}
	own := map[string]bool{"POS_DB_PASSWORD": true} // belongs to the compose file
	for _, name := range []string{"Dockerfile", "compose.yaml", "kubernetes.yaml", "pos.service"} {
		for _, variable := range regexp.MustCompile(`POS_[A-Z_]+`).FindAllString(deployFile(t, name), -1) {
			if !own[variable] && !strings.Contains(help.String(), variable) {
				t.Errorf("%s sets %s, which pos does not know", name, variable)
			}
		}
	}
}

// TestDockerfileAndCompose checks that the paths in both files exist.
func TestDockerfileAndCompose(t *testing.T) {
	root := filepath.Join("..", "..")
	exists := func(elements ...string) {
		t.Helper()
		if _, err := os.Stat(filepath.Join(elements...)); err != nil {
			t.Error(err)
		}
	}
	docker := deployFile(t, "Dockerfile")
	for _, m := range regexp.MustCompile(`go build .* (\./\S+)`).FindAllStringSubmatch(docker, -1) {
		exists(root, m[1], "main.go")
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)[1]
	if !strings.Contains(docker, fmt.Sprintf("FROM golang:%s-", version)) {
		t.Errorf("the Dockerfile builds with another Go than %s", version)
	}
	compose := documents(t, "compose.yaml")[0]
	services := at(t, compose, "services").(map[string]any)
	for i, name := range []string{"pos1", "pos2", "pos3"} {
		exists("deploy", at(t, services, name, "build", "context").(string), at(t, services, name, "build", "dockerfile").(string))
		if !strings.Contains(deployFile(t, "nginx.conf"), fmt.Sprintf("server %s:8080", name)) {
			t.Errorf("the proxy does not know replica %d", i+1)
		}
	}
	for _, v := range at(t, services, "proxy", "volumes").([]any) {
		file, _, _ := strings.Cut(v.(string), ":")
		exists("deploy", file)
	}
	proxy := at(t, services, "proxy", "networks", "default", "ipv4_address")
	if at(t, compose, "x-pos", "environment", "POS_TRUSTED_PROXIES") != proxy {
		t.Error("the replicas trust another proxy")
	}
}

// TestKubernetes sends the requests of the probes to a server.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	list := documents(t, "kubernetes.yaml")
	pod := at(t, list[0], "spec", "template", "spec")
	for _, probe := range []string{"readinessProbe", "livenessProbe"} {
		path := at(t, pod, "containers", 0, probe, "httpGet", "path").(string)
		waitUp(t, s.direct+path) // the first runs of the checks may take a moment longer than the start
	}
	if grace := at(t, pod, "terminationGracePeriodSeconds").(int); grace < 5+30 {
		t.Errorf("%d s are less than a drain and the requests in flight take", grace)
	}
	labels := at(t, list[0], "spec", "template", "metadata", "labels", "app")
	for _, one := range list[1:] {
		selector := at(t, one, "spec", "selector").(map[string]any)
		if m, ok := selector["matchLabels"].(map[string]any); ok {
			selector = m
		}
		if selector["app"] != labels {
			t.Errorf("%v selects %v", one["kind"], selector)
		}
	}
}

// TestGrafana compares the dashboard's expressions with the metrics of a server.
func TestGrafana(t *testing.T) {
	t.Parallel()
	const token = "operations-of-the-test"
	s := startShop(t, "--ops-token="+token, "--rate-sale=10/1h")
	for range 10 { // until the limit is nearly used up
		s.post("/api/v1/sales/", map[string]any{"items": []any{map[string]any{"product": 1, "quantity": 1}}})
	}
	s.get("/api/v1/categories/")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.direct+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal([]byte(deployFile(t, "grafana.json")), &board); err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`[a-z]+(?:_[a-z]+)+`)
	word := map[string]bool{"histogram_quantile": true}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %q: id %d, %d targets", p.Title, p.ID, len(p.Targets))
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			plain := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(target.Expr, "")
			for _, name := range metric.FindAllString(plain, -1) {
				if !word[name] && !regexp.MustCompile(`(?m)^`+name+`[{ ]`).Match(metrics) {
					t.Errorf("panel %q asks for %s, which the server does not export", p.Title, name)
				}
			}
			for _, label := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(target.LegendFormat, -1) {
				if !strings.Contains(target.Expr, "by ("+label[1]+")") || !bytes.Contains(metrics, []byte(label[1]+"=")) {
					t.Errorf("the legend of panel %q shows %s, which its series do not have", p.Title, label[1])
				}
			}
			for _, label := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllString(target.Expr, -1) {
				if !bytes.Contains(metrics, []byte(label)) {
					t.Errorf("panel %q asks for %s, which no metric has", p.Title, label)
				}
			}
		}
	}
	if len(board.Panels) == 0 {
		t.Error("no panels")
	}
}

// TestNginx sells through the proxy of the compose file while two of three replicas are
// stopped.
func TestNginx(t *testing.T) {
	t.Parallel()
	nginx := testserver.Lookup(t, "nginx", "nginx")
	port := testserver.FreePort(t)
	s := startShop(t, "--trusted-proxies=127.0.0.1")
	conf := deployFile(t, "nginx.conf")
	for name, address := range map[string]string{
		"pos1:8080": fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)), "pos2:8080": strings.TrimPrefix(s.direct, "http://"),
		"pos3:8080": fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)), "listen 80;": fmt.Sprintf("listen 127.0.0.1:%d;", port),
	} {
		if !strings.Contains(conf, name) {
			t.Fatalf("no %s in nginx.conf", name)
		}
		conf = strings.ReplaceAll(conf, name, address)
	}
	dir := t.TempDir()
	paths := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		paths += fmt.Sprintf("%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	file := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("daemon off;\nmaster_process off;\npid %s;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n", filepath.Join(dir, "pid"), paths, conf)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), nginx, "-t", "-p", dir, "-c", file).CombinedOutput(); err != nil {
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	cmd := exec.Command(nginx, "-p", dir, "-c", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	through := *s
	through.direct = fmt.Sprintf("http://127.0.0.1:%d", port)
	waitUp(t, through.direct+"/alive/")
	for i := range 12 {
		if status, v := through.request("POST", "/api/v1/sales/", map[string]any{"items": []any{map[string]any{"product": 1, "quantity": 1}}}); status != http.StatusCreated {
			t.Errorf("sale %d: %d %v", i, status, v)
		}
	}
	if got := len(s.sales()); got != 12 {
		t.Errorf("%d sales", got)
	}
}

// TestSystemdUnit checks the unit with systemd-analyze.
func TestSystemdUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	unit := deployFile(t, "pos.service")
	program, err := os.Executable() // verify requires a program that exists
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pos.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(unit, "/usr/local/bin/pos", program)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput()
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "pos.service") {
			t.Errorf("%v: %s", err, line)
		}
	}
}
