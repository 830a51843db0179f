package keyset

import (
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/mainstay-go/mainstay/pagination"
)

// A row that JSON cannot encode is an error for the client, with each handling of the error.
func TestWriteOfARowThatCannotBeEncoded(t *testing.T) {
	rows := []float64{1, math.NaN()}
	for name, write := range map[string]func(http.ResponseWriter) error{
		"number":  (&pagination.Page[float64]{Results: rows}).Write,
		"offset":  (&pagination.OffsetPage[float64]{Results: rows}).Write,
		"cursor":  (&Page[float64]{Results: rows}).Write,
		"JSONAPI": (&Document[float64]{Data: rows}).Write,
	} {
		w := httptest.NewRecorder()
		err := write(w)
		assert.Error(t, err, name)
		assert.Equal(t, http.StatusInternalServerError, w.Code, name)
		assert.Contains(t, w.Body.String(), "The list could not be read.", name)
		body := w.Body.String()
		pagination.WriteError(w, err)
		WriteJSONAPIError(w, err)
		assert.Equal(t, body, w.Body.String(), name)
	}
}
