package join

import "github.com/nodejoin/nodejoin/pkg/join/internal/judge"

// whoIsHere is company, with cloud-init.
func (r *run) whoIsHere() (judge.Machine, error) {
	here, err := r.company()
	here.CloudInit = judge.CloudInit(r.w.CloudInit())
	return here, err
}
