package api

import (
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// Routes for managers: products, stock, users and their sessions.

func (a *API) changeProduct(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	var in store.ProductChange
	if !read(w, r, &in) {
		return
	}
	switch {
	case in == (store.ProductChange{}):
		fail(w, http.StatusBadRequest, "want price, name or active")
		return
	case in.Price != nil && (*in.Price < 0 || *in.Price > store.MaxMoney):
		fail(w, http.StatusBadRequest, fmt.Sprintf("price: want 0 to %d", int64(store.MaxMoney)))
		return
	case in.Name != nil:
		name, ok := words(*in.Name, 190)
		if !ok {
			fail(w, http.StatusBadRequest, "name: want 1 to 190 visible characters")
			return
		}
		in.Name = &name
	}
	product, err := a.Store.ChangeProduct(r.Context(), id, in, callerOf(r).user.Name)
	a.changed(w, r, http.StatusOK, product, err)
}

func (a *API) changeStock(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	var in struct {
		Change int64  `json:"change"`
		Reason string `json:"reason"`
	}
	if !read(w, r, &in) {
		return
	}
	if in.Change == 0 || in.Change > store.MaxQuantity || in.Change < -store.MaxQuantity {
		fail(w, http.StatusBadRequest, fmt.Sprintf("change: want -%d to %d, and not 0", store.MaxQuantity, store.MaxQuantity))
		return
	}
	if !reason(w, &in.Reason) {
		return
	}
	once, ok := a.once(w, r, in)
	if !ok {
		return
	}
	product, replayed, err := a.Store.ChangeStock(r.Context(), id, in.Change, in.Reason, once)
	a.done(w, r, product, replayed, err)
}

// changed responds to a change that a manager made.
func (a *API) changed(w http.ResponseWriter, r *http.Request, status int, v any, err error) {
	if err != nil {
		a.failed(w, r, err)
		return
	}
	a.Caches.Changed()
	answer(w, status, v)
}

func (a *API) users(w http.ResponseWriter, r *http.Request) {
	list, err := a.Store.Users(r.Context())
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"count": len(list), "results": list})
}

func (a *API) createUser(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Role     string `json:"role"`
	}
	if !read(w, r, &in) {
		return
	}
	if !goodName(in.Username) {
		fail(w, http.StatusBadRequest, "username: want 1 to 64 visible characters, of one alphabet, with single blanks between words and without /")
		return
	}
	if !goodRole(w, in.Role) || !goodPassword(w, in.Password) {
		return
	}
	user := store.User{Name: in.Username, Role: in.Role, Active: true}
	err := a.Store.CreateUser(r.Context(), user, in.Password, callerOf(r).user.Name)
	a.changed(w, r, http.StatusCreated, user, err)
}

func (a *API) changeUser(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Role     *string `json:"role"`
		Password *string `json:"password"`
		Active   *bool   `json:"active"`
	}
	if !read(w, r, &in) {
		return
	}
	if in.Role == nil && in.Password == nil && in.Active == nil {
		fail(w, http.StatusBadRequest, "want role, password or active")
		return
	}
	if in.Role != nil && !goodRole(w, *in.Role) || in.Password != nil && !goodPassword(w, *in.Password) {
		return
	}
	user, err := a.Store.ChangeUser(r.Context(), pathUser(r), store.UserChange{Role: in.Role, Password: in.Password, Active: in.Active}, callerOf(r).user.Name)
	if err == nil {
		err = a.Sessions.Ended(r.Context())
	}
	a.changed(w, r, http.StatusOK, user, err)
}

func (a *API) sessions(w http.ResponseWriter, r *http.Request) {
	if _, err := a.Store.User(r.Context(), pathUser(r)); err != nil {
		a.failed(w, r, err)
		return
	}
	list, err := a.Store.Sessions(r.Context(), pathUser(r))
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"count": len(list), "results": list})
}

func (a *API) endSessions(w http.ResponseWriter, r *http.Request) {
	_, err := a.Store.User(r.Context(), pathUser(r))
	if err == nil {
		err = a.Store.EndSessions(r.Context(), pathUser(r), callerOf(r).user.Name)
	}
	if err == nil {
		err = a.Sessions.Ended(r.Context())
	}
	if err != nil {
		a.failed(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// goodName reports whether a user may have a name. Names are displayed, typed and used in paths:
// a path with "." has no route, and invisible characters mislead. The audit log has changes by
// the settings under their own name.
func goodName(name string) bool {
	text, ok := words(name, 64)
	if !ok || text != name || name == "." || name == ".." || strings.EqualFold(name, store.SettingsUser) || strings.ContainsRune(name, '/') {
		return false
	}
	alphabets := 0
	for _, of := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek} { // they share shapes
		if strings.ContainsFunc(name, func(r rune) bool { return unicode.Is(of, r) }) {
			alphabets++
		}
	}
	return alphabets < 2
}

// pathUser returns the name of a user in the path. A text that no name can be matches no user.
func pathUser(r *http.Request) string {
	if name := r.PathValue("name"); plain(name, 64) {
		return name
	}
	return ""
}

func goodRole(w http.ResponseWriter, role string) bool {
	if role != store.Admin && role != store.Cashier {
		fail(w, http.StatusBadRequest, "role: want admin or cashier")
		return false
	}
	return true
}

// maxPassword is the length in bytes that bcrypt compares. It repeats a shorter password with a zero
// byte, so no password may have one.
const maxPassword = 72

func goodPassword(w http.ResponseWriter, password string) bool {
	if len(password) < 8 || !plain(password, maxPassword) {
		fail(w, http.StatusBadRequest, "password: want 8 to 72 bytes, none of them zero")
		return false
	}
	return true
}
