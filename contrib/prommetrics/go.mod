module github.com/mainstay-go/mainstay/contrib/prommetrics

go 1.26.0

require github.com/mainstay-go/mainstay v0.0.0

require github.com/prometheus/client_golang v1.25.0 // indirect

replace github.com/mainstay-go/mainstay => ../..
