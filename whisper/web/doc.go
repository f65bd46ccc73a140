// Package web shows a whisper node in a browser of the same computer: what is
// said as it comes, a form to say something, and the peers with what can be done
// about them. It answers under the names that it was given and no others, so
// that a name which is bound anew to the loopback address reaches nothing;
// forms of pages from elsewhere are refused; and the page runs no script and
// loads nothing but its own files. What strangers wrote is put in as text, with
// characters that do not show themselves as their numbers.
//
// It is meant for the loopback interface, where whoever has an account on the
// computer can reach it: there is no password. The page works without script
// too, except that it does not move.
package web
