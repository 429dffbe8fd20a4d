package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// apiServer is whose time a handshake takes.
const apiServer = "API server"

const handshakesCounted = 200

// handshakes measures what one TLS handshake costs a server, with either kind of key that kubeadm makes.
func (b *bench) handshakes() error {
	for _, kind := range []struct {
		name string
		key  func() (crypto.Signer, error)
	}{
		{"RSA 2048", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }},
		{"ECDSA P-256", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
	} {
		key, err := kind.key()
		if err != nil {
			return err
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return err
		}
		cost, err := handshakeCost(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
		if err != nil {
			return fmt.Errorf("shaking hands with %s: %w", kind.name, err)
		}
		b.add(sample{Row: "storm", Contender: apiServer, What: "ms a handshake, " + kind.name, Value: float64(cost.Microseconds()) / 1000})
	}
	return nil
}

// handshakeCost is the CPU time of the server's side, which has a thread of its own.
func handshakeCost(cert tls.Certificate) (time.Duration, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	go func() {
		for range handshakesCounted {
			conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				l.Close() // then the server's side says so
				return
			}
			conn.Close()
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, err := threadTime()
	if err != nil {
		return 0, err
	}
	for range handshakesCounted {
		conn, err := l.Accept()
		if err != nil {
			return 0, err
		}
		err = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
		conn.Close()
		if err != nil {
			return 0, err
		}
	}
	ended, err := threadTime()
	return (ended - began) / handshakesCounted, err
}

func threadTime() (time.Duration, error) {
	var usage unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_THREAD, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}
