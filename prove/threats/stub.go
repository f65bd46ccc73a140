package main

type collector struct{}

func theftRows() []row { return nil }
func reachRows() []row { return nil }
func hostRows() []row  { return nil }
