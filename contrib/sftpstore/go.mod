module github.com/mainstay-go/mainstay/contrib/sftpstore

go 1.26.0

require (
	github.com/mainstay-go/mainstay v0.1.0
	github.com/pkg/sftp v1.13.12
	golang.org/x/crypto v0.58.0
)

require (
	filippo.io/age v1.3.2 // indirect
	filippo.io/hpke v0.4.0 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/gofrs/flock v0.13.1 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/kr/fs v0.1.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/mainstay-go/mainstay => ../..
