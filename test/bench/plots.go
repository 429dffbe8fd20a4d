package main

import (
	"fmt"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// drawing is a plot in the folder of the results.
type drawing struct{ file, title string }

// plots draws what a table tells badly: the spread of the joins, and the cost against the number of nodes.
func (b *bench) plots() ([]drawing, error) {
	var drawn []drawing
	for _, p := range []struct {
		row, what, title string
		contenders       []string
	}{
		{"late", "signed to Node", "Late control plane: seconds from the token's signature to the Node", []string{limit, ours, before, bare, shellLoop, installer}},
		{"live", "start to Node", "Live control plane: seconds from start to the Node", []string{bare, ours, before}},
		{"deleted", "deleted to registered", "Deleted by the cloud controller: seconds until registered again", []string{restart, ours, before, bare, shellLoop, installer}},
		{"reset", "seconds", "Reset of a Node that was Ready: seconds until a member", []string{ours, before, shellLoop, installer}},
		{"expired", reportsAgain, "Certificate expired: seconds until the Node is reported for again", []string{ours, before, shellLoop}},
	} {
		d := drawing{p.row + ".svg", p.title}
		ok, err := b.boxes(p.row, p.what, d, p.contenders)
		if err != nil {
			return nil, err
		}
		if ok {
			drawn = append(drawn, d)
		}
	}
	scale := drawing{"scale.svg", "Cost against scale: requests a node that joins, by nodejoin itself"}
	ok, err := b.scale(scale)
	if ok {
		drawn = append(drawn, scale)
	}
	return drawn, err
}

func (b *bench) save(p *plot.Plot, d drawing) error {
	return p.Save(18*vg.Centimeter, 9*vg.Centimeter, filepath.Join(b.folder, d.file))
}

// boxes draws a series of each contender as a box with its quartiles; below stands how many runs there were, and in how
// many nothing happened.
func (b *bench) boxes(row, what string, d drawing, contenders []string) (ok bool, err error) {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text, p.Y.Min = d.title, "seconds", 0
	var names []string
	for _, who := range contenders {
		values, never := b.of(row, who, what)
		if len(values) == 0 && never == 0 {
			continue
		}
		name := fmt.Sprintf("%s\n%d runs", who, len(values)+never)
		if len(values) > 0 {
			box, err := plotter.NewBoxPlot(vg.Points(24), float64(len(names)), plotter.Values(values))
			if err != nil {
				return false, err
			}
			p.Add(box)
			ok = true
		}
		if never > 0 {
			name += fmt.Sprintf(", %d never", never)
		}
		names = append(names, name)
	}
	if !ok {
		return false, nil
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5
	return true, b.save(p, d)
}

func (b *bench) scale(d drawing) (ok bool, err error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text, p.Y.Min = d.title, "nodes that join at once", "requests", 0
	var points plotter.XYs
	for _, n := range crowds {
		if values, _ := b.of("storm", ours, fmt.Sprintf("%d: nodejoin's requests a node", n)); len(values) > 0 {
			points = append(points, plotter.XY{X: float64(n), Y: median(values)})
		}
	}
	if len(points) < 2 {
		return false, nil
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return false, err
	}
	p.Add(line, dots, plotter.NewGrid())
	return true, b.save(p, d)
}
