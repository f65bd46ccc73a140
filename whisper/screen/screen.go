// Package screen shows a whisper node on a terminal: what is said above, a line
// to type in below, and between them where this node is and how many peers it
// has. Lines are shown as whoever runs it words them, who must have made them
// harmless: nothing is filtered here. Page-up and page-down look back; control-D
// on an empty line ends it, and so does control-C.
//
// It draws on a terminal of its own and gives it back as it was.
package screen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	"charm.land/bubbles/v2/viewport"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"airdispatch/whisper"
)

// The bounds of what is held, and how often the peers are counted.
const (
	maxLines   = 2000
	before     = 100
	countEvery = time.Second
)

// Config says what is shown where. All fields but the size are needed.
type Config struct {
	In  io.Reader
	Out io.Writer
	// Width and Height are the size of an Out that does not tell its own.
	Width, Height int
	// Line words a message.
	Line func(whisper.Message) string
	// Typed does what a line that was typed says, and returns what to tell the person.
	Typed func(line string) []string
}

// Run shows the node until the person ends it or the context does. Errors:
// context.Canceled where the person interrupted it.
func Run(ctx context.Context, node *whisper.Node, c Config) error {
	ear, said := node.Hear(before)
	defer ear.Close()
	m := newModel(node, c)
	for _, s := range said {
		m.add(c.Line(s))
	}
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithInput(c.In), tea.WithOutput(c.Out), tea.WithoutSignalHandler()}
	if c.Width > 0 {
		options = append(options, tea.WithWindowSize(c.Width, c.Height))
	}
	p := tea.NewProgram(m, options...)
	ctx, cancel := context.WithCancel(ctx)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		tick := time.NewTicker(countEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.Send(connected(node))
			case s := <-ear.C:
				p.Send(heard(c.Line(s)))
			case <-ctx.Done():
				return
			}
		}
	}()
	end, err := p.Run()
	cancel()
	<-fed
	if last, ok := end.(*model); err == nil && ok && last.interrupted || ctx.Err() != nil && errors.Is(err, tea.ErrProgramKilled) {
		return context.Canceled
	}
	return err
}

// heard is a line to show.
type heard string

// peers is how many peers are connected.
type peers int

// connected counts the peers that are connected.
func connected(node *whisper.Node) (n peers) {
	for _, p := range node.Peers() {
		if p.Up {
			n++
		}
	}
	return n
}

// model is the screen.
type model struct {
	node        *whisper.Node
	config      Config
	input       textinput.Model
	view        viewport.Model
	lines       []string
	width       int
	peers       peers
	interrupted bool
}

func newModel(node *whisper.Node, c Config) *model {
	m := &model{node: node, config: c, input: textinput.New(), view: viewport.New(), width: 80}
	m.input.SetVirtualCursor(false) // the terminal has one, which needs no clock
	m.input.Prompt = "> "
	m.input.Placeholder = "say something; Ctrl-D ends"
	m.input.CharLimit = whisper.MaxBody / 4
	m.resize(80, 24)
	return m
}

// Init focuses the line.
func (m *model) Init() tea.Cmd { return m.input.Focus() }

// Update takes what happened.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.resize(msg.Width, msg.Height)
		return m, nil
	case heard:
		m.add(string(msg))
		return m, nil
	case peers:
		m.peers = msg
		return m, nil
	case tea.KeyPressMsg:
		return m.key(msg)
	}
	var cmd tea.Cmd
	m.input, cmd = m.input.Update(msg)
	return m, cmd
}

// key takes a key.
func (m *model) key(msg tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	switch msg.String() {
	case "ctrl+c":
		m.interrupted = true
		return m, tea.Quit
	case "ctrl+d":
		if m.input.Value() == "" {
			return m, tea.Quit
		}
	case "enter", "ctrl+j":
		line := m.input.Value()
		m.input.Reset()
		for _, told := range m.config.Typed(line) {
			m.add("-- " + told)
		}
		return m, nil
	case "pgup":
		m.view.PageUp()
		return m, nil
	case "pgdown":
		m.view.PageDown()
		return m, nil
	}
	var cmd tea.Cmd
	m.input, cmd = m.input.Update(msg)
	return m, cmd
}

// View draws the screen.
func (m *model) View() tea.View {
	bar := fmt.Sprintf(" %s at %s, %d connected ", m.node.Nick(), m.node.Addr(), m.peers)
	status := lipgloss.NewStyle().Reverse(true).Width(m.width).MaxHeight(1).Render(bar)
	v := tea.NewView(m.view.View() + "\n" + status + "\n" + m.input.View())
	v.AltScreen = true
	if v.Cursor = m.input.Cursor(); v.Cursor != nil {
		v.Cursor.Y += m.view.Height() + 1
	}
	return v
}

// add shows a line, at the end if the end was in sight.
func (m *model) add(line string) {
	end := m.view.AtBottom()
	m.lines = append(m.lines, line)
	m.lines = m.lines[max(0, len(m.lines)-maxLines):]
	m.fill()
	if end {
		m.view.GotoBottom()
	}
}

// fill breaks the lines to the width.
func (m *model) fill() {
	m.view.SetContent(lipgloss.Wrap(strings.Join(m.lines, "\n"), m.width, " "))
}

func (m *model) resize(width, height int) {
	m.width = max(width, 10)
	m.view.SetWidth(m.width)
	m.view.SetHeight(max(height-2, 1))
	m.input.SetWidth(m.width - 4)
	m.fill()
	m.view.GotoBottom()
}
