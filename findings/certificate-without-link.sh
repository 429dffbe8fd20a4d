#!/bin/sh
# A kubelet's certificate that is a plain file is read for as long as it is good, and can never be renewed.
#
# What: k8s.io/client-go v0.37.2, util/certificate.NewFileStore: the store in which every kubelet keeps its client and
# serving certificates. Valid input: a key pair that it has written itself, with NAME-current.pem as a file in place of
# the link to it, as a copy (cp -rL, tar -h, a backup without links, a provisioner) leaves it behind.
#
# A good guess: what Current() loads, Update() replaces. Seen:
#   - Current() loads the plain file without a word.
#   - Update() refuses: expected "..." to be a symlink but it is a file.
#   - It refuses last: the new pair, with its private key, is on the disk already and stays there, and nothing refers to it.
#     A kubelet asks its cluster for a further certificate each time, so requests and keys pile up until its last one expires.
#   - With the plain file out of the way the same Update() succeeds, and makes the link.
set -eu
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir"
cat > go.mod <<'MOD'
module finding
go 1.26.0
require k8s.io/client-go v0.37.2
MOD
cat > main.go <<'GO'
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/util/certificate"
)

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
	return v
}

// pair is a certificate and its key.
func pair(serial int64) (cert, key []byte) {
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	t := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "system:node:n1"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, t, t, &k.PublicKey, k))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(k))})
}

func main() {
	dir := must(filepath.Abs(must(os.MkdirTemp(".", "pki"))))
	current := filepath.Join(dir, "kubelet-client-current.pem")
	store := must(certificate.NewFileStore("kubelet-client", dir, dir, "", ""))
	must(store.Update(pair(1)))
	pairs := func() int { return len(must(filepath.Glob(filepath.Join(dir, "kubelet-client-2*.pem")))) }

	// the link becomes the file that it points to
	raw := must(os.ReadFile(current))
	if err := os.Remove(current); err != nil {
		panic(err)
	}
	if err := os.WriteFile(current, raw, 0o600); err != nil {
		panic(err)
	}
	store = must(certificate.NewFileStore("kubelet-client", dir, dir, "", ""))
	fmt.Println("read as a plain file: serial", must(store.Current()).Leaf.SerialNumber)

	for serial := range int64(2) {
		time.Sleep(1100 * time.Millisecond) // names hold whole seconds
		before := pairs()
		_, err := store.Update(pair(serial + 2))
		fmt.Printf("renewed: %v; key pairs left behind by that: %d\n", err == nil, pairs()-before)
		if err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), dir, "DIR"))
		}
	}
	fmt.Println("still used: serial", must(store.Current()).Leaf.SerialNumber)

	if err := os.Remove(current); err != nil {
		panic(err)
	}
	time.Sleep(1100 * time.Millisecond)
	must(store.Update(pair(9)))
	link := must(os.Lstat(current)).Mode()&os.ModeSymlink != 0
	fmt.Println("with the file away: renewed, serial", must(store.Current()).Leaf.SerialNumber, "by a link:", link)
}
GO
go mod tidy >tidy.log 2>&1 || { cat tidy.log; exit 1; }
go run . >seen 2>log || { cat seen log; exit 1; }
cat > expected <<'OUT'
read as a plain file: serial 1
renewed: false; key pairs left behind by that: 1
expected "DIR/kubelet-client-current.pem" to be a symlink but it is a file
renewed: false; key pairs left behind by that: 1
expected "DIR/kubelet-client-current.pem" to be a symlink but it is a file
still used: serial 1
with the file away: renewed, serial 9 by a link: true
OUT
diff expected seen && echo "as described: client-go v0.37.2"
