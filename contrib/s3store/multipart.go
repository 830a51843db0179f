package s3store

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3 compares each part with its MD5
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"
)

// maxParts is the limit of S3.
const maxParts = 10_000

// multipart sends a file of unknown length in parts. The multipart upload of the client
// omits the If-None-Match condition at the end, and would replace an existing file.
func (s *Store) multipart(ctx context.Context, key string, r io.Reader, opts minio.PutObjectOptions, watch *watchdog) (info minio.UploadInfo, err error) {
	core := minio.Core{Client: s.client}
	id, err := core.NewMultipartUpload(ctx, s.bucket, key, opts)
	if err != nil {
		return info, err
	}
	defer func() {
		if err != nil { // remaining parts cost money; Sweep removes them a day later
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Timeout)
			defer cancel()
			_ = core.AbortMultipartUpload(ctx, s.bucket, key, id)
		}
	}()
	part := make([]byte, s.opts.PartSize)
	var parts []minio.CompletePart
	for last := false; !last; {
		n, err := io.ReadFull(r, part)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			last = true
		case err != nil:
			return info, err
		}
		if n == 0 {
			break
		}
		if len(parts) == maxParts {
			return info, fmt.Errorf("s3store: the file has more than %d parts of %d bytes: raise PartSize", maxParts, s.opts.PartSize)
		}
		sum := md5.Sum(part[:n]) //nolint:gosec // as above
		sent, err := core.PutObjectPart(ctx, s.bucket, key, id, len(parts)+1, &watchedPart{bytes.NewReader(part[:n]), watch}, int64(n),
			minio.PutObjectPartOptions{Md5Base64: base64.StdEncoding.EncodeToString(sum[:])})
		if err != nil {
			return info, err
		}
		parts = append(parts, minio.CompletePart{PartNumber: sent.PartNumber, ETag: sent.ETag})
	}
	var only minio.PutObjectOptions
	only.SetMatchETagExcept("*")
	return core.CompleteMultipartUpload(ctx, s.bucket, key, id, parts, only)
}

// watchedPart restarts the watchdog with each sent piece. It can be sent again.
type watchedPart struct {
	data  *bytes.Reader
	watch *watchdog
}

func (p *watchedPart) Read(b []byte) (int, error) {
	n, err := p.data.Read(b)
	p.watch.start()
	return n, err
}

func (p *watchedPart) Seek(offset int64, whence int) (int64, error) {
	return p.data.Seek(offset, whence)
}
