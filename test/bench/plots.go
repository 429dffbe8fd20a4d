package main

import (
	"fmt"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plots draws what a table tells badly: the spread of the joins, and the cost against the number of nodes.
func (b *bench) plots() error {
	for _, p := range []struct {
		row, what, title string
		contenders       []string
	}{
		{"late", "signed to Node", "Late control plane: seconds from the token's signature to the Node", []string{limit, ours, bare, shellLoop, installer}},
		{"live", "start to Node", "Live control plane: seconds from start to the Node", []string{bare, ours}},
		{"deleted", "deleted to registered", "Deleted by the cloud controller: seconds until registered again", []string{restart, ours}},
	} {
		if err := b.boxes(p.row, p.what, p.title, p.contenders); err != nil {
			return err
		}
	}
	return b.scale()
}

func (b *bench) boxes(row, what, title string, contenders []string) error {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text, p.Y.Min = title, "seconds", 0
	var names []string
	for _, who := range contenders {
		values, _ := b.of(row, who, what)
		if len(values) == 0 {
			continue
		}
		box, err := plotter.NewBoxPlot(vg.Points(24), float64(len(names)), plotter.Values(values))
		if err != nil {
			return err
		}
		p.Add(box)
		names = append(names, fmt.Sprintf("%s (%d)", who, len(values)))
	}
	if len(names) == 0 {
		return nil
	}
	p.NominalX(names...)
	return p.Save(18*vg.Centimeter, 9*vg.Centimeter, filepath.Join(b.results, row+".svg"))
}

func (b *bench) scale() error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text, p.Y.Min = "Cost against scale", "nodes that join at once", "requests a node, by nodejoin itself", 0
	var points plotter.XYs
	for _, n := range crowds {
		if values, _ := b.of("storm", ours, fmt.Sprintf("%d: nodejoin's requests a node", n)); len(values) > 0 {
			points = append(points, plotter.XY{X: float64(n), Y: median(values)})
		}
	}
	if len(points) < 2 {
		return nil
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	p.Add(line, dots, plotter.NewGrid())
	return p.Save(18*vg.Centimeter, 9*vg.Centimeter, filepath.Join(b.results, "scale.svg"))
}
