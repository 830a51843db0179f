package healthcli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
)

// bookkeeping limits the wait for a store. The alerts must not wait for it.
const bookkeeping = 10 * time.Second

// recall gives the checks their state from the end of the last run. This run replaces a
// state that cannot be read.
func recall(ctx context.Context, reg *health.Registry, store alert.Store) error {
	if store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, bookkeeping)
	defer cancel()
	err := store.Update(ctx, func(state []byte) ([]byte, error) {
		var states map[string][]byte
		if json.Unmarshal(state, &states) == nil {
			_ = reg.Recall(states) // a check without its state starts from the beginning
		}
		return state, nil
	})
	return unlessBusy(err)
}

// remember stores the state of the checks.
func remember(ctx context.Context, reg *health.Registry, store alert.Store) error {
	if store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, bookkeeping)
	defer cancel()
	err := store.Update(ctx, func(state []byte) ([]byte, error) {
		states := map[string][]byte{}
		_ = json.Unmarshal(state, &states) // a damaged state is replaced
		for name, s := range reg.Remember() {
			states[name] = s
		}
		return json.Marshal(states)
	})
	return unlessBusy(err)
}

// unlessBusy ignores a file that another run has locked. The state of that run is as
// good.
func unlessBusy(err error) error {
	if err == nil || errors.Is(err, alert.ErrBusy) {
		return nil
	}
	return fmt.Errorf("the state of the checks: %w", err)
}
