// Package ec2 asks an instance's metadata service who this machine is.
//
// It speaks IMDSv2 only: what answers at 169.254.169.254 without a session token may be another cloud's service, or a
// proxy's. One question is one second; whether to ask again is for the caller to judge, who can tell a machine that is not
// EC2's from an instance whose service is late by what the firmware says (Firmware).
package ec2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// askTimeout bounds the four requests of one question: on an instance they take milliseconds.
const askTimeout = time.Second

// Instance is what EC2 knows of the instance that this machine is.
type Instance struct {
	ID   string // "i-0123456789abcdef0"
	Zone string // "us-east-1a"
	// PrivateDNSName is the instance's hostname as EC2 gives it: "ip-10-0-0-7.ec2.internal", or where the instance uses
	// resource names "i-0123456789abcdef0.ec2.internal". In a VPC whose DHCP options name a domain of their own it has that
	// domain, though EC2's API, and with it the cloud controller, keeps to EC2's.
	PrivateDNSName string
}

// ProviderID is the instance as the Amazon cloud controller looks it up, whatever the Node's name is.
func (i *Instance) ProviderID() string { return "aws:///" + i.Zone + "/" + i.ID }

// NodeName is a name by which the Amazon cloud controller finds the instance: its private DNS name, or its ID where it
// uses resource names.
func (i *Instance) NodeName() string {
	if label, _, _ := strings.Cut(i.PrivateDNSName, "."); label == i.ID {
		return i.ID
	}
	return i.PrivateDNSName
}

// Knows tells whether the Amazon cloud controller finds the instance by that Node name: a name that begins with an
// instance's ID is taken for that ID, with or without a domain, and any other for a private DNS name.
func (i *Instance) Knows(name string) bool {
	label, _, _ := strings.Cut(name, ".")
	return label == i.ID || name == i.PrivateDNSName
}

var (
	// ErrOff: AWS_EC2_METADATA_DISABLED forbids to ask, as in every AWS SDK.
	ErrOff = errors.New("AWS_EC2_METADATA_DISABLED is true")

	instanceID = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)
	zoneName   = regexp.MustCompile(`^[a-z0-9-]+$`)
)

// Ask asks once, for up to a second. It never goes through a proxy, whose own instance would answer. Like every AWS SDK it
// minds AWS_EC2_METADATA_DISABLED (ErrOff) and AWS_EC2_METADATA_SERVICE_ENDPOINT.
func Ask(ctx context.Context) (*Instance, error) {
	if strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		return nil, ErrOff
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	client := imds.New(imds.Options{
		EnableFallback: aws.FalseTernary,
		Retryer:        aws.NopRetryer{},
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.Proxy = nil
			t.DisableKeepAlives = true
		}),
	})
	var i Instance
	for path, into := range map[string]*string{
		"instance-id": &i.ID, "placement/availability-zone": &i.Zone, "local-hostname": &i.PrivateDNSName,
	} {
		if err := get(ctx, client, path, into); err != nil {
			return nil, fmt.Errorf("asking the metadata service: %w", short(err))
		}
	}
	// Two domains in the DHCP options make two words of it; the first is the hostname.
	names := strings.Fields(strings.ToLower(i.PrivateDNSName))
	if !instanceID.MatchString(i.ID) || !zoneName.MatchString(i.Zone) || len(names) == 0 {
		return nil, fmt.Errorf("what answers is not EC2's metadata service: instance %q, zone %q, hostname %q", i.ID, i.Zone, i.PrivateDNSName)
	}
	i.PrivateDNSName = names[0]
	return &i, nil
}

// short keeps the cause of an error that the SDK has wrapped five times over.
func short(err error) error {
	if _, cause, ok := strings.Cut(err.Error(), "request send failed, "); ok {
		return errors.New(cause)
	}
	return err
}

// longest is more than any of the answers has.
const longest = 1024

func get(ctx context.Context, client *imds.Client, path string, into *string) error {
	answer, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if err != nil {
		return err
	}
	defer answer.Content.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Content, longest))
	*into = strings.TrimSpace(string(raw))
	return err
}

// Expected tells, without asking anybody, whether this machine is an EC2 instance: its firmware, seen from the root
// directory, says so, or AWS_EC2_METADATA_SERVICE_ENDPOINT says where to ask.
func Expected(root string) bool {
	return os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT") != "" || Firmware(root)
}

// Firmware tells what the firmware says: "Amazon EC2" on Nitro and on bare metal, a BIOS "4.11.amazon" and a UUID that
// begins with ec2 on Xen.
func Firmware(root string) bool {
	read := func(path string) string {
		raw, _ := os.ReadFile(filepath.Join(root, path))
		return strings.ToLower(strings.TrimSpace(string(raw)))
	}
	return read("/sys/class/dmi/id/sys_vendor") == "amazon ec2" ||
		strings.HasSuffix(read("/sys/class/dmi/id/bios_version"), ".amazon") ||
		strings.HasPrefix(read("/sys/hypervisor/uuid"), "ec2")
}
