package testbed

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	region = "us-east-1"
	zone   = region + "a"

	clusterID = "testbed"
)

// Instance is what EC2 tells of one instance. Empty fields get sensible values.
type Instance struct {
	ID             string
	PrivateDNSName string
	IP             string
	State          string // "running"
	Type           string // "t3.medium"
	Untagged       bool   // lacks the cluster's tag: for the controller it does not exist
}

// EC2Request is one request to EC2.
type EC2Request struct {
	At     time.Time
	Action string
	Params url.Values
}

// EC2 is a fake of as much of the EC2 Query API as the Amazon cloud controller uses.
type EC2 struct {
	mu        sync.Mutex
	instances []Instance
	requests  []EC2Request
	refusal   string
}

func newEC2() *EC2 { return &EC2{} }

// InstanceID is the ID that Add gives to an instance with that name.
func InstanceID(privateDNSName string) string {
	sum := sha256.Sum256([]byte(privateDNSName))
	return "i-" + hex.EncodeToString(sum[:])[:17]
}

// ProviderID is what a kubelet with that name would be given as --provider-id.
func ProviderID(privateDNSName string) string {
	return "aws:///" + zone + "/" + InstanceID(privateDNSName)
}

// complete fills what is empty.
func (i Instance) complete() Instance {
	if i.ID == "" {
		i.ID = InstanceID(i.PrivateDNSName)
	}
	if i.State == "" {
		i.State = "running"
	}
	if i.Type == "" {
		i.Type = "t3.medium"
	}
	if i.IP == "" {
		i.IP = "10.77.255.254"
	}
	return i
}

// Add lists an instance, in place of one with the same name.
func (e *EC2) Add(i Instance) {
	i = i.complete()
	e.Remove(i.PrivateDNSName)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.instances = append(e.instances, i)
}

// Remove lists an instance no more.
func (e *EC2) Remove(privateDNSName string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.instances = slices.DeleteFunc(e.instances, func(i Instance) bool { return i.PrivateDNSName == privateDNSName })
}

// Refuse answers everything with an error of that code, as in "RequestLimitExceeded", until it is "".
func (e *EC2) Refuse(code string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refusal = code
}

// Requests lists what was asked so far.
func (e *EC2) Requests() []EC2Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

// ServeHTTP is the Query API: a form in, XML out.
func (e *EC2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		refuse(w, "MalformedQueryString", err.Error())
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	action := r.Form.Get("Action")
	e.requests = append(e.requests, EC2Request{time.Now(), action, r.Form})
	if e.refusal != "" {
		refuse(w, e.refusal, "the testbed refuses every request")
		return
	}
	switch action {
	case "DescribeInstances":
		e.describeInstances(w, r.Form)
	case "DescribeAvailabilityZones":
		answer(w, action, fmt.Sprintf(`<availabilityZoneInfo><item><zoneName>%s</zoneName><zoneId>use1-az1</zoneId>`+
			`<regionName>%s</regionName><zoneState>available</zoneState></item></availabilityZoneInfo>`, zone, region))
	case "DescribeInstanceTopology":
		answer(w, action, `<instanceSet/>`)
	default:
		refuse(w, "UnsupportedOperation", "the testbed's EC2 has no "+action)
	}
}

func (e *EC2) describeInstances(w http.ResponseWriter, form url.Values) {
	wanted := numbered(form, "InstanceId.%d")
	for _, id := range wanted {
		if !slices.ContainsFunc(e.instances, func(i Instance) bool { return i.ID == id }) {
			refuse(w, "InvalidInstanceID.NotFound", fmt.Sprintf("The instance ID '%s' does not exist", id))
			return
		}
	}
	var found []Instance
	for _, i := range e.instances {
		if len(wanted) > 0 && !slices.Contains(wanted, i.ID) {
			continue
		}
		ok, err := matches(i, form)
		if err != nil {
			refuse(w, "InvalidParameterValue", err.Error())
			return
		}
		if ok {
			found = append(found, i)
		}
	}
	// NextToken is the number of instances already listed.
	skip, _ := strconv.Atoi(form.Get("NextToken"))
	found = found[min(skip, len(found)):]
	next := ""
	if size, err := strconv.Atoi(form.Get("MaxResults")); err == nil && size > 0 && size < len(found) {
		found, next = found[:size], strconv.Itoa(skip+size)
	}
	var b strings.Builder
	b.WriteString("<reservationSet>")
	for _, i := range found {
		b.WriteString(i.xml())
	}
	b.WriteString("</reservationSet>")
	if next != "" {
		fmt.Fprintf(&b, "<nextToken>%s</nextToken>", next)
	}
	answer(w, "DescribeInstances", b.String())
}

func matches(i Instance, form url.Values) (bool, error) {
	for n := 1; ; n++ {
		name := form.Get(fmt.Sprintf("Filter.%d.Name", n))
		if name == "" {
			return true, nil
		}
		values := numbered(form, fmt.Sprintf("Filter.%d.Value.%%d", n))
		have := ""
		switch name {
		case "private-dns-name":
			have = i.PrivateDNSName
		case "instance-state-name":
			have = i.State
		case "instance-id":
			have = i.ID
		case "vpc-id":
			have = "vpc-0a0b0c0d"
		default:
			return false, fmt.Errorf("the testbed's EC2 has no filter %s", name)
		}
		if !slices.Contains(values, have) {
			return false, nil
		}
	}
}

func numbered(form url.Values, pattern string) []string {
	var values []string
	for n := 1; form.Has(fmt.Sprintf(pattern, n)); n++ {
		values = append(values, form.Get(fmt.Sprintf(pattern, n)))
	}
	return values
}

var stateCodes = map[string]int{"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

func (i Instance) xml() string {
	tag := ""
	if !i.Untagged {
		tag = "<item><key>kubernetes.io/cluster/" + clusterID + "</key><value>owned</value></item>"
	}
	return fmt.Sprintf(`<item><reservationId>r-%s</reservationId><instancesSet><item><instanceId>%s</instanceId>`+
		`<instanceState><code>%d</code><name>%s</name></instanceState><privateDnsName>%s</privateDnsName>`+
		`<instanceType>%s</instanceType><placement><availabilityZone>%s</availabilityZone></placement>`+
		`<vpcId>vpc-0a0b0c0d</vpcId><subnetId>subnet-0a0b0c0d</subnetId><privateIpAddress>%s</privateIpAddress>`+
		`<networkInterfaceSet><item><networkInterfaceId>eni-%s</networkInterfaceId><status>in-use</status>`+
		`<privateIpAddress>%s</privateIpAddress><privateDnsName>%s</privateDnsName><attachment><deviceIndex>0</deviceIndex></attachment>`+
		`<privateIpAddressesSet><item><privateIpAddress>%s</privateIpAddress><primary>true</primary></item></privateIpAddressesSet>`+
		`</item></networkInterfaceSet><tagSet>%s</tagSet></item></instancesSet></item>`,
		i.ID[2:], escaped(i.ID), stateCodes[i.State], i.State, escaped(i.PrivateDNSName), escaped(i.Type), zone,
		i.IP, i.ID[2:], i.IP, escaped(i.PrivateDNSName), i.IP, tag)
}

func escaped(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text))
	return b.String()
}

func answer(w http.ResponseWriter, action, body string) {
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><%sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">`+
		`<requestId>00000000-0000-0000-0000-000000000000</requestId>%s</%sResponse>`, action, body, action)
}

func refuse(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors>`+
		`<RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>`, escaped(code), escaped(message))
}
