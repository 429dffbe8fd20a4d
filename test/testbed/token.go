package testbed

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TokenOptions describe a bootstrap token.
type TokenOptions struct {
	Value       string        // a fresh one if empty
	TTL         time.Duration // a day if zero; may be negative
	Description string
	NoSigning   bool // cluster-info never gets its signature
	NoAuth      bool // the API server does not take it as a credential
}

// TokenMark begins the secret half of every token: one search finds them all, torn ones included, wherever they have got to.
const TokenMark = "neversay"

// NewToken makes up a well-formed bootstrap token that no cluster knows yet.
func NewToken() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	raw := make([]byte, 14)
	rand.Read(raw)
	for i, b := range raw {
		raw[i] = letters[int(b)%len(letters)]
	}
	return string(raw[:6]) + "." + TokenMark + string(raw[6:])
}

// Token creates a bootstrap token and returns its value. cluster-info is signed with it a moment later: WaitSigned.
func (cp *ControlPlane) Token(ctx context.Context, opts TokenOptions) (string, error) {
	if opts.Value == "" {
		opts.Value = NewToken()
	}
	if opts.TTL == 0 {
		opts.TTL = 24 * time.Hour
	}
	id, secret, ok := strings.Cut(opts.Value, ".")
	if !ok {
		return "", fmt.Errorf("creating a token: %q is none", opts.Value)
	}
	data := map[string]string{
		"token-id": id, "token-secret": secret, "description": opts.Description,
		"expiration":                     time.Now().Add(opts.TTL).UTC().Format(time.RFC3339),
		"usage-bootstrap-signing":        fmt.Sprint(!opts.NoSigning),
		"usage-bootstrap-authentication": fmt.Sprint(!opts.NoAuth),
		"auth-extra-groups":              "system:bootstrappers:kubeadm:default-node-token",
	}
	object := &core.Secret{ObjectMeta: meta.ObjectMeta{Name: tokenSecret(opts.Value)}, Type: "bootstrap.kubernetes.io/token", StringData: data}
	if _, err := cp.client.CoreV1().Secrets(meta.NamespaceSystem).Create(ctx, object, meta.CreateOptions{}); err != nil {
		return "", fmt.Errorf("creating a token: %w", err)
	}
	return opts.Value, nil
}

func tokenSecret(token string) string {
	id, _, _ := strings.Cut(token, ".")
	return "bootstrap-token-" + id
}

// DeleteToken deletes a token.
func (cp *ControlPlane) DeleteToken(ctx context.Context, token string) error {
	err := cp.client.CoreV1().Secrets(meta.NamespaceSystem).Delete(ctx, tokenSecret(token), meta.DeleteOptions{})
	if err != nil {
		return fmt.Errorf("deleting a token: %w", err)
	}
	return nil
}

// ExpireToken lets a token expire now. The token cleaner deletes it soon after.
func (cp *ControlPlane) ExpireToken(ctx context.Context, token string) error {
	secrets := cp.client.CoreV1().Secrets(meta.NamespaceSystem)
	object, err := secrets.Get(ctx, tokenSecret(token), meta.GetOptions{})
	if err == nil {
		object.Data["expiration"] = []byte(time.Now().Add(-time.Second).UTC().Format(time.RFC3339))
		_, err = secrets.Update(ctx, object, meta.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("expiring a token: %w", err)
	}
	return nil
}

// WaitSigned returns when cluster-info is signed with the token: from then on a join can work.
func (cp *ControlPlane) WaitSigned(ctx context.Context, token string) error {
	id, _, _ := strings.Cut(token, ".")
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		info, err := cp.client.CoreV1().ConfigMaps(meta.NamespacePublic).Get(ctx, "cluster-info", meta.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		_, signed := info.Data["jws-kubeconfig-"+id]
		return signed, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the signature with token %s: %w", id, err)
	}
	return nil
}

// ReadyToken is Token and WaitSigned.
func (cp *ControlPlane) ReadyToken(ctx context.Context) (string, error) {
	token, err := cp.Token(ctx, TokenOptions{})
	if err != nil {
		return "", err
	}
	return token, cp.WaitSigned(ctx, token)
}
