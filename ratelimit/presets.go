package ratelimit

import "time"

// Login returns the policy "login", 5 an hour: for failed tries to log in. See
// package loginguard for protection of a login.
func Login() Policy { return Policy{Name: "login", Limit: 5, Window: time.Hour} }

// API returns the policy "api", 100 an hour: for ordinary calls of one user.
func API() Policy { return Policy{Name: "api", Limit: 100, Window: time.Hour} }

// Sale returns the policy "sale", 200 an hour: for sales rung up at one till.
func Sale() Policy { return Policy{Name: "sale", Limit: 200, Window: time.Hour} }

// TopUp returns the policy "topup", 30 an hour: for money put on cards by one user.
func TopUp() Policy { return Policy{Name: "topup", Limit: 30, Window: time.Hour} }
