package sftpstore

import (
	"context"
	"net"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Connect opens a session of SFTP, and cuts its connection when ctx ends: a call on a server
// that hangs returns then. A [Store] opens a session for each call of a method. The context
// of the session ends with the call, or when the server stalls.
type Connect func(ctx context.Context) (*sftp.Client, error)

// SSH returns a Connect to a host, address "host:22". The configuration must have a
// HostKeyCallback that checks the key of the host, such as ssh.FixedHostKey: without one
// ssh refuses to connect.
func SSH(address string, config *ssh.ClientConfig) Connect {
	return func(ctx context.Context) (*sftp.Client, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // ssh has no contexts
		transport, channels, requests, err := ssh.NewClientConn(conn, address, config)
		if err != nil {
			stop()
			conn.Close()
			return nil, err
		}
		client := ssh.NewClient(transport, channels, requests)
		session, err := sftp.NewClient(client, sftp.UseConcurrentWrites(true))
		if err != nil {
			stop()
			_ = client.Close()
			return nil, err
		}
		go func() {
			_ = session.Wait()
			stop()
			_ = client.Close()
		}()
		return session, nil
	}
}
