package s3store_test

import (
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/contrib/s3store"
)

// A bucket as the storage of a job. Nothing is sent before the first run.
func Example() {
	client, err := minio.New("s3.example.org", &minio.Options{
		Creds: credentials.NewEnvAWS(), Region: "eu-west-1", Secure: true,
	})
	if err != nil {
		panic(err)
	}
	store, err := s3store.New(client, "backups", &s3store.Options{Prefix: "pos", RetainFor: 30 * 24 * time.Hour})
	if err != nil {
		panic(err)
	}
	var storage backup.Storage = store // for backup.New
	fmt.Println(storage.Abilities().Sweep != nil)
	// Output: true
}
