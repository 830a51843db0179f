// Package s3store stores backups in a bucket of S3 or of a compatible server. It is a
// separate module, so that package backup links no S3 client.
package s3store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/mainstay-go/mainstay/backup"
)

// Options configure a [Store]. The zero value and nil are valid.
type Options struct {
	// Prefix is a folder of the bucket, such as "backups/pos". Each job needs its own
	// prefix. Default: the root of the bucket.
	Prefix string
	// RetainFor locks stored files against deletion by every user for this time (object
	// lock in mode COMPLIANCE). The bucket must have been created with object lock. Files
	// that a job replaces, such as its marks and its history, are not locked. Default: not
	// locked.
	RetainFor time.Duration
	// PartSize is the size of the parts of a file, at least 5 MiB. One part is held in
	// memory at a time. A file has at most 10,000 parts. Default: 16 MiB, for files up to
	// 156 GiB.
	PartSize int64
	// Timeout is the time limit of a request without a body, and of a whole Remove or
	// Sweep. Default: 30 s.
	Timeout time.Duration
	// Stall is the time after which an upload or a download ends if the server moves no
	// byte. The time that a dump takes to produce its bytes does not count. Default: 2 min.
	Stall time.Duration
}

// Store is a [backup.Storage] in a bucket. A file is visible only when it is complete. A
// crash leaves at most parts of an upload. They are not listed, and [Store.Sweep] removes
// them. A Store has no lock. Let only one host at a time back up into a prefix.
//
// If one Store uploads the same name twice at the same time, the second upload waits and is
// then rejected. Between Stores, the server decides by the header If-None-Match. S3
// supports it since 2024. Some servers ignore it, or check only before they write
// (versitygw 1.8 on a folder). With those, the second of two simultaneous uploads may win.
// All methods are safe for concurrent use.
type Store struct {
	client *minio.Client
	bucket string
	prefix string // "" or ends with a slash
	opts   Options
	page   int // names per request of a listing; 0 means the server's default
	turns  turns
}

var _ backup.Storage = (*Store)(nil)

// New returns the store in a bucket, which must exist. New makes no connection. opts
// may be nil.
func New(client *minio.Client, bucket string, opts *Options) (*Store, error) {
	s := &Store{client: client, bucket: bucket}
	if opts != nil {
		s.opts = *opts
	}
	o := &s.opts
	switch {
	case client == nil || bucket == "":
		return nil, errors.New("s3store: New needs a client and the name of a bucket")
	case o.RetainFor < 0 || o.Timeout < 0 || o.Stall < 0:
		return nil, errors.New("s3store: Options has a negative time")
	case o.PartSize != 0 && (o.PartSize < 5<<20 || o.PartSize > 1<<30):
		return nil, fmt.Errorf("s3store: a PartSize of %d is not between 5 MiB and 1 GiB", o.PartSize)
	}
	if prefix := strings.Trim(o.Prefix, "/"); prefix != "" {
		s.prefix = prefix + "/"
	}
	o.PartSize = cmp.Or(o.PartSize, 16<<20)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Stall = cmp.Or(o.Stall, 2*time.Minute)
	return s, nil
}

func (s *Store) key(name string) (string, error) {
	if !backup.ValidName(name) {
		return "", fmt.Errorf("s3store: %q is not a name for a backup's file", name)
	}
	return s.prefix + name, nil
}

// Abilities returns that the store replaces small files and sweeps. It has no lock and no
// space limit.
func (s *Store) Abilities() backup.Abilities {
	return backup.Abilities{Replace: s.replace, Sweep: s.Sweep}
}

// replace stores a small file. S3 replaces an older one atomically. In a versioned bucket,
// replace then deletes the older version. Otherwise that version would reappear when the
// file is removed.
func (s *Store) replace(ctx context.Context, name string, data []byte) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Stall)
	defer cancel()
	older, err := s.stat(ctx, key)
	if err != nil && !errors.Is(err, backup.ErrNotFound) {
		return err
	}
	info, err := s.client.PutObject(ctx, s.bucket, key, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return translate("replace", name, err)
	}
	if older.VersionID == "" || older.VersionID == info.VersionID {
		return nil
	}
	err = s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{VersionID: older.VersionID})
	if err == nil || denied(err, older) || minio.ToErrorResponse(err).StatusCode == http.StatusForbidden {
		return nil // a key without the right to delete cannot remove the file either
	}
	return translate("remove the older version of", name, err)
}

// Put streams a file into the bucket, in parts if it is larger than one.
func (s *Store) Put(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
	key, err := s.key(name)
	if err != nil {
		return 0, err
	}
	end, err := s.turns.take(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("s3store: waiting for another upload of %s: %w", name, err)
	}
	defer end()
	// Reject an existing file before its dump is made. At the end the server rejects the
	// second of two uploads.
	switch _, err := s.stat(ctx, key); {
	case err == nil:
		return 0, fmt.Errorf("s3store: %s: %w", name, backup.ErrExists)
	case !errors.Is(err, backup.ErrNotFound):
		return 0, err
	}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watch := newWatchdog(s.opts.Stall, stop)
	defer watch.done()
	r, w := io.Pipe()
	sent := make(chan error, 1)
	var info minio.UploadInfo
	go func() {
		var err error
		info, err = s.upload(ctx, key, name, r, watch)
		// A producer that still writes receives the error.
		r.CloseWithError(cause(ctx, err))
		sent <- err
	}()
	counted := &counter{to: w}
	failure := write(counted)
	if failure == nil {
		failure = context.Cause(ctx)
	}
	_ = w.CloseWithError(failure) // nil marks the end of the file; never fails
	err = <-sent
	switch {
	case failure != nil && (err == nil || context.Cause(ctx) == nil):
		return 0, failure
	case failure != nil:
		return 0, errors.Join(failure, cause(ctx, err))
	case err != nil:
		return 0, translate("upload", name, cause(ctx, err))
	}
	watch.done()

	// The size that the server reports decides whether the file is complete.
	stored, err := s.stat(ctx, key)
	if err == nil && (stored.Size != counted.n || info.ETag != "" && stored.ETag != info.ETag) {
		err = fmt.Errorf("s3store: %s: the server keeps %d bytes of %d, or another file", name, stored.Size, counted.n)
	}
	if err != nil {
		return 0, errors.Join(err, s.Remove(context.WithoutCancel(ctx), name))
	}
	return stored.Size, nil
}

// upload sends a small file in one request, which succeeds or fails as a whole. It sends a
// larger file in parts.
func (s *Store) upload(ctx context.Context, key, name string, r io.Reader, watch *watchdog) (info minio.UploadInfo, err error) {
	mark := rand.Text()
	defer func() {
		if err != nil && ctx.Err() == nil {
			if there, ours := s.stored(ctx, key, mark); ours {
				info, err = there, nil
			}
		}
	}()
	opts := minio.PutObjectOptions{
		ContentType: "application/octet-stream", Progress: watch, UserMetadata: map[string]string{uploadMark: mark},
	}
	if s.opts.RetainFor > 0 {
		opts.Mode, opts.RetainUntilDate = minio.Compliance, time.Now().Add(s.opts.RetainFor).UTC().Truncate(time.Second)
		opts.SendContentMd5 = true // S3 requires it for locked files
	}
	unconditional := opts
	opts.SetMatchETagExcept("*")
	r = watch.reading(r)
	const small = 1 << 20
	head, err := io.ReadAll(io.LimitReader(r, small+1))
	if err != nil {
		return minio.UploadInfo{}, err
	}
	if len(head) <= small {
		info, err := s.client.PutObject(ctx, s.bucket, key, bytes.NewReader(head), int64(len(head)), opts)
		if minio.ToErrorResponse(err).Code != "PreconditionFailed" {
			return info, err
		}
		// Some versioned servers (versitygw 1.8 with a sidecar) treat a deleted file as
		// existing. A job could then not replace its marks.
		if _, absent := s.stat(ctx, key); !errors.Is(absent, backup.ErrNotFound) {
			return info, err
		}
		return s.client.PutObject(ctx, s.bucket, key, bytes.NewReader(head), int64(len(head)), unconditional)
	}
	return s.multipart(ctx, key, io.MultiReader(bytes.NewReader(head), r), unconditional, watch)
}

// uploadMark is the metadata that tells one upload from another.
const uploadMark = "Mainstay-Upload"

// stored returns the file that an upload with this mark has stored. The client repeats a request
// whose response was lost, and the server then rejects the repetition.
func (s *Store) stored(ctx context.Context, key, mark string) (minio.UploadInfo, bool) {
	info, err := s.stat(ctx, key)
	if err != nil || info.UserMetadata[uploadMark] != mark {
		return minio.UploadInfo{}, false
	}
	return minio.UploadInfo{Size: info.Size, ETag: info.ETag, VersionID: info.VersionID}, true
}

// Open reads a file. Its reader fails when the server stalls, and when the content ends before
// the size that the server reports.
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	key, err := s.key(name)
	if err != nil {
		return nil, err
	}
	info, err := s.stat(ctx, key)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	opts := minio.GetObjectOptions{VersionID: info.VersionID}
	object, err := s.client.GetObject(ctx, s.bucket, key, opts)
	if err != nil {
		stop(nil)
		return nil, translate("open", name, err)
	}
	return &download{object: object, name: name, left: info.Size, ctx: ctx, stop: stop, watch: newWatchdog(s.opts.Stall, stop)}, nil
}

// List returns the files directly under the prefix.
func (s *Store) List(ctx context.Context) ([]backup.Object, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watch := newWatchdog(s.opts.Timeout, stop)
	defer watch.done()
	watch.start()
	var found []backup.Object
	for info := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix, MaxKeys: s.page}) {
		if info.Err != nil {
			return nil, translate("list", s.prefix, cause(ctx, info.Err))
		}
		watch.start()
		name := strings.TrimPrefix(info.Key, s.prefix)
		if backup.ValidName(name) {
			found = append(found, backup.Object{Name: name, Size: info.Size, Modified: info.LastModified})
		}
	}
	// The channel also ends, without an error, when its context does.
	if err := context.Cause(ctx); err != nil {
		return nil, translate("list", s.prefix, err)
	}
	return found, nil
}

// Remove deletes a file. In a versioned bucket it deletes the version itself instead of
// hiding it, so that the space is free again. A locked file stays, and the error is
// backup.ErrRetained.
func (s *Store) Remove(ctx context.Context, name string) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	info, err := s.stat(ctx, key)
	if errors.Is(err, backup.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	err = s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{VersionID: info.VersionID})
	if err == nil {
		return nil
	}
	if denied(err, info) {
		return fmt.Errorf("s3store: %s: %w", name, backup.ErrRetained)
	}
	return translate("remove", name, err)
}

// denied reports whether a file is retained. The server returns the same code if the key
// has no right to delete.
func denied(err error, info minio.ObjectInfo) bool {
	response := minio.ToErrorResponse(err)
	if response.StatusCode != http.StatusForbidden && response.Code != "AccessDenied" && response.Code != "ObjectLocked" {
		return false
	}
	until, unknown := time.Parse(time.RFC3339, info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	return unknown == nil && until.After(time.Now()) || info.Metadata.Get("X-Amz-Object-Lock-Legal-Hold") == "ON" ||
		strings.Contains(response.Message, "object lock")
}

// Sweep aborts uploads that started before the given time and never completed. Their parts
// cost money and are not listed.
func (s *Store) Sweep(ctx context.Context, before time.Time) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	var swept []string
	var errs []error
	for upload := range s.client.ListIncompleteUploads(ctx, s.bucket, s.prefix, true) {
		if upload.Err != nil {
			return swept, translate("list the uploads of", s.prefix, upload.Err)
		}
		name := strings.TrimPrefix(upload.Key, s.prefix)
		if !backup.ValidName(name) || !upload.Initiated.Before(before) {
			continue
		}
		core := minio.Core{Client: s.client}
		if err := core.AbortMultipartUpload(ctx, s.bucket, upload.Key, upload.UploadID); err != nil {
			errs = append(errs, translate("abort the upload of", name, err))
			continue
		}
		swept = append(swept, name)
	}
	return swept, errors.Join(append(errs, ctx.Err())...)
}

func (s *Store) stat(ctx context.Context, key string) (minio.ObjectInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	info, err := s.client.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return info, translate("look at", strings.TrimPrefix(key, s.prefix), err)
	}
	return info, nil
}

// translate converts errors of S3 to errors of package backup.
func translate(what, name string, err error) error {
	response := minio.ToErrorResponse(err)
	switch response.Code {
	case "NoSuchKey":
		return fmt.Errorf("s3store: %s: %w", name, backup.ErrNotFound)
	case "PreconditionFailed", "ConditionalRequestConflict":
		return fmt.Errorf("s3store: %s: %w", name, backup.ErrExists)
	case "NoSuchBucket":
		return fmt.Errorf("s3store: there is no bucket %q: create it, with object lock if you want RetainFor: %w", response.BucketName, err)
	}
	if response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("s3store: %s: %w", name, backup.ErrNotFound)
	}
	return fmt.Errorf("s3store: %s %s: %w", what, name, err)
}
