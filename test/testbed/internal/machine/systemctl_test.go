package machine

import "testing"

// What nodejoin asks of a unit has systemd's form and the unit's own values.
func TestShowTellsTheMainProcessAndItsRestarts(t *testing.T) {
	const asked = "LoadState,UnitFileState,ActiveState,SubState,MainPID,NRestarts,Unheard"
	for want, s := range map[string]*service{
		"LoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=running\nMainPID=42\nNRestarts=3\n": {
			Unit: Unit{Enabled: true}, UnitState: UnitState{ActiveState: "active", SubState: "running", MainPID: 42, Restarts: 3}},
		"LoadState=loaded\nUnitFileState=disabled\nActiveState=activating\nSubState=auto-restart\nMainPID=0\nNRestarts=7\n": {
			UnitState: UnitState{ActiveState: "activating", SubState: "auto-restart", Restarts: 7}},
		"LoadState=not-found\nUnitFileState=\nActiveState=inactive\nSubState=dead\nMainPID=0\nNRestarts=0\n": nil,
	} {
		u := &units{byName: map[string]*service{}}
		if s != nil {
			s.Name, s.Command = "kubelet.service", []string{"kubelet"}
			u.byName[s.Name] = s
		}
		if got := u.verb([]string{"show", "kubelet", "-p", asked}); got.Code != 0 || got.Stdout != want {
			t.Errorf("got %+v\nwant %q", got, want)
		}
	}
}

func TestShowTellsTheCommandAndItsEnvironment(t *testing.T) {
	s := &service{Unit: Unit{Name: "kubelet.service", Command: []string{"kubelet", "--config=/c", "$ARGS"}, Env: []string{"A=b c", "D=e"}, EnvFiles: []string{"/one", "/two"}}}
	u := &units{byName: map[string]*service{s.Name: s}}
	want := "ExecStart={ path=kubelet ; argv[]=kubelet --config=/c $ARGS ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }\n" +
		"Environment=\"A=b c\" D=e\nEnvironmentFiles=/one (ignore_errors=yes)\nEnvironmentFiles=/two (ignore_errors=yes)\n"
	if got := u.verb([]string{"show", "kubelet", "-p", "ExecStart,Environment,EnvironmentFiles"}); got.Stdout != want {
		t.Errorf("got %q\nwant %q", got.Stdout, want)
	}
}
