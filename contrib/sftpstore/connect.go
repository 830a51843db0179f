package sftpstore

import (
	"context"
	"net"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Connect opens an SFTP session. When ctx ends, Connect closes its connection, so that a
// call on a hanging server returns. A [Store] opens a session for each method call. The
// context of the session ends with the call, or when the server stalls.
type Connect func(ctx context.Context) (*sftp.Client, error)

// SSH returns a Connect for a host. The address has the form "host:22". The configuration
// must have a HostKeyCallback that checks the key of the host, such as ssh.FixedHostKey.
// Without one, ssh refuses to connect.
func SSH(address string, config *ssh.ClientConfig) Connect {
	return func(ctx context.Context) (*sftp.Client, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // package ssh does not support contexts
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
