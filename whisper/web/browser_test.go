package web_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestBrowser uses the page as a person does, in Debian's chromium: with
// WHISPER_SCREENSHOT=docs/whisper.png it also keeps a picture of it.
func TestBrowser(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("SKIPPED: there is no chromium here; apt-get install chromium")
	}
	ann, base := serve(t, "ann")
	bob, _ := serve(t, "bob")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WindowSize(1000, 640))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	defer end()
	ctx, gone := chromedp.NewContext(ctx)
	defer gone()
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		must(t, chromedp.Do(limited, actions...))
	}
	line := func(text string) chromedp.Search {
		return chromedp.Search(`//ol[@id="lines"]/li[contains(., "` + text + `")]`)
	}

	must(t, chromedp.Do(ctx)) // the browser lives as long as this context
	do(chromedp.Navigate(base), chromedp.WaitVisible(chromedp.Search(`//span[@id="state"][text()="live"]`)),
		chromedp.SendKeys(chromedp.CSS("#addr"), bob.Addr()+"\n"), chromedp.WaitVisible(chromedp.Search(`//ul[@id="peers"]/li[@class="up"]`)),
		chromedp.SendKeys(chromedp.CSS("#body"), "hello from a browser\n"), chromedp.WaitVisible(line("hello from a browser")))
	must(t, bob.Say("hello, browser"))
	must(t, bob.Say("/me waves"))
	must(t, bob.Say(hostile))
	do(chromedp.WaitVisible(line("hello, browser")), chromedp.WaitVisible(line("<script>document.title")))
	if os.Getenv("WHISPER_SCREENSHOT") != "" {
		picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		must(t, err)
		must(t, os.WriteFile(os.Getenv("WHISPER_SCREENSHOT"), picture, 0o644))
	}
	title, err := chromedp.Run(ctx, chromedp.Title())
	must(t, err)
	if !strings.HasPrefix(title, "whisper: ann") {
		t.Errorf("a stranger's script ran: the title is %q", title)
	}
	do(chromedp.Click(chromedp.Search(`//ul[@id="peers"]/li//button[text()="block"]`)), chromedp.WaitNotPresent(chromedp.Search(`//ul[@id="peers"]/li`)))
	if p := ann.Peers(); len(p) != 0 {
		t.Errorf("the peers are %v", p)
	}
}
