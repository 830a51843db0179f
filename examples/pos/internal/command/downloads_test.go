package command

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// slowReader is a client that reads the first bytes of a download and then waits.
type slowReader struct {
	*httptest.ResponseRecorder
	begun, goOn chan struct{}
	once        sync.Once
}

func (w *slowReader) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.begun) })
	<-w.goOn
	return w.ResponseRecorder.Write(p)
}

// TestDownloadsAtOnce keeps four downloads of one user open. A fifth is refused, but the pages
// of the same report are not. The slots are free again afterwards.
func TestDownloadsAtOnce(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	t.Run("memory", func(t *testing.T) { downloadAtOnce(openTestShop(t, unlimited...)) })
	t.Run("Redis", func(t *testing.T) {
		server := testserver.Redis(t)
		downloadAtOnce(openTestShop(t, append(unlimited, "--redis=redis://"+server.Addr()+"/0")...))
	})
}

func downloadAtOnce(s *shop) {
	t := s.t
	t.Helper()
	const path = "/api/v1/reports/sales/?format=csv"
	release := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		w := &slowReader{ResponseRecorder: httptest.NewRecorder(), begun: make(chan struct{}), goOn: release}
		r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		r.Header.Set("Authorization", "Bearer "+s.admin)
		wg.Go(func() {
			s.handler.ServeHTTP(w, r)
			if w.Code != http.StatusOK || bytes.Count(w.Body.Bytes(), []byte("\n")) != 10_001 {
				t.Errorf("download: %d, %d bytes", w.Code, w.Body.Len())
			}
		})
		<-w.begun
	}
	s = s.asManager()
	status, body, header := s.send("GET", path, "")
	if status != http.StatusTooManyRequests || header.Get("Retry-After") != "5" || !bytes.Contains(body, []byte("concurrency_limited")) {
		t.Errorf("a fifth download: %d %s", status, body)
	}
	s.get("/api/v1/reports/sales/")
	if status, body, _ := s.send("GET", "/metrics/", "", "Authorization", "Bearer "+opsToken); !bytes.Contains(body, []byte(`policy="downloads"`)) {
		t.Errorf("metrics: %d %s", status, body)
	}
	close(release)
	wg.Wait()
	if status, body, _ := s.send("GET", path, ""); status != http.StatusOK {
		t.Errorf("afterwards: %d %s", status, body)
	}
}
