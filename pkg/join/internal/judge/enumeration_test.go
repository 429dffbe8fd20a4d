//go:build !race

package judge

import (
	"flag"
	"math/rand"
	"reflect"
	"runtime/debug"
	"slices"
	"testing"
)

// space is a part of the product of all dimensions. Along each of its axes it
// has some of the values, those in one class being the same to the judge there;
// the dimensions that it does not name it does not look at. Neither claim is
// taken on trust: rows are judged once more with other members of the same classes
// and with anything else at random, and the judgement has to be the same.
type space struct {
	name string
	why  string // its rows do not look at the rest
	of   map[axis][][]int
	only func(*judged) bool
}

// one: whoever tries hundreds of changed judges has no half a minute for each.
var one = flag.Int("one", 1, "judge one row in so `many`, the same each time, and all of a small space")

const small = 2000

// sample: of a large space's rows every so many is judged twice.
const sample = 10

// census of an enumeration.
type census struct {
	t        *testing.T
	rand     *rand.Rand
	known    *rower // of rows to compare with
	rows     int
	again    int
	failures map[string]int
}

func (c *census) fail(what string, at *point, a Action) {
	c.failures[what]++
	if c.failures[what] <= 2 {
		c.t.Errorf("%s: %+v\n%v", what, a, at)
	}
}

func (c *census) check(r *row, at *point, a Action) {
	for i := range properties {
		if !properties[i].holds(r, a) {
			c.fail(properties[i].name, at, a)
		}
	}
}

func (s *space) enumerate(c *census) {
	w, other, j, before := newRower(), newRower(), judged{}, c.rows
	var along []axis
	for a := range axes {
		if _, named := s.of[a]; named {
			along = append(along, a)
		}
	}
	index := make([]int, len(along))
	at := usual()
	for i, a := range along {
		at[a] = uint8(s.of[a][index[i]][0])
	}
	for {
		if *one == 1 || c.rows-before < small || c.rand.Intn(*one) == 0 {
			r := w.row(&at)
			if j.judge(r); s.only(&j) {
				if c.rows++; c.rows%64 == 0 && !reflect.DeepEqual(j.a, Next(r.p, r.m, &r.f, now)) {
					c.fail("not what Next says", &at, j.a)
				}
				c.check(r, &at, j.a)
				c.compare(r, &at, j.a)
				if (c.rows-before)%sample == 0 || c.rows-before < sample*sample*sample {
					s.judgeAgain(c, other, along, index, &at, j.a)
				}
			}
		}
		i := len(along) - 1
		for ; i >= 0; i-- {
			classes := s.of[along[i]]
			if index[i]++; index[i] < len(classes) {
				at[along[i]] = uint8(classes[index[i]][0])
				break
			}
			index[i] = 0
			at[along[i]] = uint8(classes[0][0])
		}
		if i < 0 {
			return
		}
	}
}

// judgeAgain with what is said to make no difference at random.
func (s *space) judgeAgain(c *census, w *rower, along []axis, index []int, at *point, a Action) {
	var again point
	for x := range axes {
		again[x] = uint8(c.rand.Intn(len(dimensions[x])))
		if lead := leading[x]; lead != nil && c.rand.Intn(8) > 0 {
			again[x] = uint8(lead[c.rand.Intn(len(lead))])
		}
	}
	for i, x := range along {
		class := s.of[x][index[i]]
		again[x] = uint8(class[0])
		if len(class) > 1 {
			again[x] = uint8(class[c.rand.Intn(len(class))])
		}
	}
	r := w.row(&again)
	var j judged
	if j.judge(r); !s.only(&j) {
		return
	}
	c.again++
	b := j.a
	c.check(r, &again, b)
	if a.Kind != b.Kind || a.Kind == End && a.Reason != b.Reason || a.Ground != b.Ground || a.Because != b.Because {
		c.fail(s.name+": the same to the judge, but "+a.Message, at, a)
		c.fail(s.name+": the same to the judge, and "+b.Message, &again, b)
	}
}

// harshness of an action, from doing nothing to what cannot be undone.
func harshness(a Action) int {
	return slices.Index([]Kind{PutBack, StartKubelet, RestartKubelet, Bootstrap, StopKubelet, Tidy, Join, Reset}, a.Kind) + 1
}

// TestEveryRow judges every combination of what the judge distinguishes.
func TestEveryRow(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // what a judgement leaves is gone with the next
	c := &census{t: t, rand: rand.New(rand.NewSource(1)), known: newRower(), failures: map[string]int{}}
	for _, s := range spaces {
		t.Run(s.name, func(t *testing.T) {
			before := c.rows
			c.t = t
			if s.enumerate(c); c.rows == before {
				t.Error("an empty space")
			}
			t.Logf("%9d rows: %s", c.rows-before, s.name)
		})
	}
	t.Logf("%9d rows in all, and %d of them with anything else at random", c.rows, c.again)
	for what, n := range c.failures {
		t.Errorf("%d times: %s", n, what)
	}
}

// TestSpacesCoverTheProduct: no combination is outside of all spaces.
func TestSpacesCoverTheProduct(t *testing.T) {
	random := rand.New(rand.NewSource(2))
	w, missed := newRower(), 0
	for i := range 300_000 {
		var at point
		for a := range axes {
			at[a] = uint8(random.Intn(len(dimensions[a])))
			if lead := leading[a]; lead != nil && random.Intn(8) < i%9 { // deep into the judge
				at[a] = uint8(lead[random.Intn(len(lead))])
			}
		}
		var j judged
		j.judge(w.row(&at))
		if !slices.ContainsFunc(spaces, func(s *space) bool { return s.has(&at) && s.only(&j) }) {
			if missed++; missed <= 3 {
				t.Errorf("in no space, row %d, %v:\n%v", j.by, j.a.Message, &at)
			}
		}
	}
	if missed > 0 {
		t.Errorf("%d of 300000 points are in no space", missed)
	}
}

func (s *space) has(at *point) bool {
	for a, classes := range s.of {
		if !slices.ContainsFunc(classes, func(class []int) bool { return slices.Contains(class, int(at[a])) }) {
			return false
		}
	}
	return true
}
