package broker

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// WebSocket returns a handler that upgrades requests and serves MQTT over them, subprotocol "mqtt" [MQTT-6.0.0-3]. A
// browser is let in from the handler's own host and from origins, which are host patterns as in path.Match; a request
// without Origin is no browser's and needs none. A message may hold any part of the MQTT stream.
func (b *Broker) WebSocket(origins []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !b.limiter.allow(remote(r.RemoteAddr), time.Now()) {
			b.stats.limited.Add(1)
			http.Error(w, "too many connections", http.StatusTooManyRequests)
			return
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols:    []string{"mqtt"},
			OriginPatterns:  origins,
			CompressionMode: websocket.CompressionDisabled,
		})
		if err != nil {
			b.refusal("websocket refused", "remote", r.RemoteAddr, "err", err)
			return // Accept has answered
		}
		if ws.Subprotocol() != "mqtt" {
			// The client learns why if it still listens.
			_ = ws.Close(websocket.StatusPolicyViolation, "subprotocol mqtt is required")
			return
		}
		b.ServeConn(wsConn{Conn: websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws: ws})
	})
}

// remote is a net.Addr that is known by its text only.
type remote string

func (remote) Network() string  { return "tcp" }
func (a remote) String() string { return string(a) }

// wsConn closes without the closing handshake, for which a dead peer would keep us waiting.
type wsConn struct {
	net.Conn
	ws *websocket.Conn
}

// Close closes the socket at once; DISCONNECT was MQTT's goodbye.
func (c wsConn) Close() error {
	err := c.ws.CloseNow()
	_ = c.Conn.Close() // releases its timers; the socket is closed already
	return err
}
