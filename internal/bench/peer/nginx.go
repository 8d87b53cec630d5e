package peer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"fleetbridge/internal/bench"
)

// Web says how nginx serves a folder.
type Web struct {
	Root string // the folder
	// Cert and Key are PEM files for TLS 1.3; "" for TCP.
	Cert, Key string
	// Cipher is the suite to negotiate, in the words of OpenSSL.
	Cipher string
}

// nginxConf: a worker a core, as its documentation advises; sendfile, a head and its bytes in one segment, open files kept,
// connections kept for good. Requests are small and files cached, so no helper threads.
const nginxConf = `%[1]sworker_processes auto;
worker_rlimit_nofile %[2]d;
daemon off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections %[3]d; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  open_file_cache max=16 inactive=1h;
  open_file_cache_valid 1h;
  client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
  server {
    listen %[4]s%[5]s backlog=4096;
    root %[6]s;
%[7]s  }
}
`

const nginxTLS = `    ssl_certificate %s;
    ssl_certificate_key %s;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites %s;
`

// Nginx starts nginx, and returns it with its address. [ErrMissing] if it is not installed.
func Nginx(ctx context.Context, b *bench.Bench, w Web) (*bench.Proc, string, error) {
	path, err := find("nginx")
	if err != nil {
		return nil, "", err
	}
	addr, err := bench.FreeAddr()
	if err != nil {
		return nil, "", err
	}
	dir, err := os.MkdirTemp(b.Dir, "nginx-")
	if err != nil {
		return nil, "", fmt.Errorf("make folder: %w", err)
	}
	ssl, secrets := "", ""
	if w.Cert != "" {
		ssl, secrets = " ssl", fmt.Sprintf(nginxTLS, w.Cert, w.Key, w.Cipher)
	}
	files := bench.FileLimit()
	conf, err := write(dir, "nginx.conf", fmt.Sprintf(nginxConf, asRoot("user root;"), files, max(512, files-64), addr, ssl, w.Root, secrets))
	if err != nil {
		return nil, "", err
	}
	p, err := b.Start(bench.Command{Name: "nginx", Path: path, Args: []string{"-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log")}})
	if err != nil {
		return nil, "", err
	}
	return p, addr, p.Listening(ctx, addr)
}
