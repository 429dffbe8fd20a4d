package main

// story is a row of what is looked at in each cell; its tests are those of e2e.
type story struct {
	title string
	tests []string
}

var stories = []story{
	{"join", []string{"TestCleanHostJoinsALiveCluster"}},
	{"late control plane", []string{"TestControlPlaneThatStartsTwentySecondsLateIsWaitedFor"}},
	{"deleted by the cloud", []string{"TestNodeThatTheCloudControllerDeletesComesBackAndStays"}},
	{"returned as it was", []string{
		"TestReadyNodeThatIsDeletedIsBackAsItWasAndItsPodsAndDriversDoNotNotice",
		"TestNodeThatAmazonsControllerDeletesTwiceInARowIsAsItWasBothTimes",
	}},
	{"leftovers", []string{"TestLeftoversOfADeadAttemptAreTidiedAway", "TestMemberWithoutANodeWhoseKubeletConfDoesNotLoadBootstrapsAgainAndItsStaticPodsLive"}},
	{"expired certificate", []string{"TestKubeletWithoutUsableCredentialsBootstrapsAgainInPlaceAndItsPodsLive"}},
	{"refused token", []string{"TestUnknownTokenIsRejected"}},
	{"late runtime", []string{"TestContainerRuntimeThatIsFifteenSecondsLateIsWaitedFor"}},
	{"swap", []string{"TestSwapIsAPersonsJob"}},
	{"cgroup", []string{"TestKubeletThatRefusesCgroupV1IsReportedWithItsWords", "TestCgroupDriverIsTheRuntimesWhereItTells"}},
	{"wrong minor", []string{"TestKubeadmMinorsNewerThanTheClusterIsAPersonsJob"}},
	{"control plane refused", []string{"TestControlPlaneHostIsNeverTouched"}},
	{"old containerd", []string{"TestNodesOfTwoContainerdsJoinAndAreBackAfterADeletion"}},
}

// tests are the names of all.
func tests() []string {
	var names []string
	for _, s := range stories {
		names = append(names, s.tests...)
	}
	return names
}

// The ways in which a story ends in a cell.
const (
	holds    = "holds"
	failedIt = "fails"
	untold   = "not told"
)

// endedAs is the worst end of its tests.
func (s story) endedAs(ends map[string]string) string {
	end := holds
	for _, name := range s.tests {
		switch ends[name] {
		case "pass":
		case "fail":
			return failedIt
		default:
			end = untold
		}
	}
	return end
}
