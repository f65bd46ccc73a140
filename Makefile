# What one types here. `make` alone lists it; CI runs .ci/run.

GO      ?= go
BUF      = $(GO) tool -modfile=tools/buf/go.mod buf
LINT     = $(GO) tool -modfile=tools/lint/go.mod
FUZZTIME ?= 5s
BENCH    ?= .
PROOFS   = $(patsubst prove/%/main.go,%,$(wildcard prove/*/main.go))

SBOM     = $(GO) tool -modfile=tools/sbom/go.mod cyclonedx-gomod
DOORS    = adctl admaild adtrackd
# With these the same revision and the same toolchain make the same bytes, wherever and whenever they are built.
RELEASE  = -trimpath -buildvcs=false -ldflags=-buildid=

.PHONY: help build release repro sbom test race cover lint fmt vuln gen gen-check breaking fuzz bench prove clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the three doors into bin/
	$(GO) build -o bin/ ./cmd/...

release: sbom ## build the doors reproducibly into bin/, with sums and bills of material
	$(GO) build $(RELEASE) -o bin/ ./cmd/...
	cd bin && sha256sum $(DOORS) $(DOORS:=.cdx.json) >SHA256SUMS && cat SHA256SUMS

repro: ## fail when a build in another place, with nothing cached, is not the same bytes
	@set -e; there=$$(mktemp -d); trap 'rm -rf "$$there"' EXIT; \
	mkdir -p "$$there/elsewhere/deep"; git archive HEAD | tar x -C "$$there/elsewhere/deep"; \
	git archive HEAD | tar x -C "$$there"; \
	(cd "$$there" && $(GO) build $(RELEASE) -o "$$there/one/" ./cmd/...); \
	(cd "$$there/elsewhere/deep" && GOCACHE="$$there/cache" $(GO) build $(RELEASE) -o "$$there/two/" ./cmd/...); \
	for door in $(DOORS); do cmp "$$there/one/$$door" "$$there/two/$$door"; done; \
	cd "$$there/one" && sha256sum $(DOORS)

sbom: ## write a CycloneDX bill of materials of each door into bin/
	@mkdir -p bin
	@set -e; for door in $(DOORS); do $(SBOM) app -json -licenses -std -noserial -main cmd/$$door -output bin/$$door.cdx.json . 2>/dev/null; echo "bin/$$door.cdx.json"; done

test: ## run every test
	$(GO) test ./...

race: ## run every test under the race detector
	$(GO) test -race ./...

cover: ## coverage by room; fails below the floors in tools/cover
	$(GO) test -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) run ./tools/cover cover.out

lint: ## gofmt, go vet, staticcheck, gofumpt, buf lint
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(LINT) staticcheck ./...
	@loose=$$($(LINT) gofumpt -l .); test -z "$$loose" || { echo "not gofumpt'ed:"; echo "$$loose"; exit 1; }
	$(BUF) lint

fmt: ## format Go and the schema
	$(LINT) gofumpt -w .
	$(BUF) format -w

vuln: ## look for known vulnerabilities (asks the public database)
	$(LINT) govulncheck ./...

gen: ## regenerate wire from its .proto files (the first run compiles buf: minutes)
	$(BUF) lint
	$(BUF) generate

gen-check: gen ## fail when the committed generated code is not what gen writes
	@test -z "$$(git status --porcelain -- wire)" || { git status --short -- wire; git diff --stat --exit-code -- wire; echo "commit what make gen wrote"; exit 1; }

breaking: ## fail when the schema broke since BASE (default: main)
	$(BUF) breaking --against '.git#branch=$(or $(BASE),main)'

fuzz: ## run every fuzz target for FUZZTIME (default 5s)
	@set -e; for room in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$room | grep '^Fuzz' || true); do \
			echo "$$room $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$room; \
		done; \
	done

bench: ## run the benchmarks that match BENCH (default: all)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

prove: ## prove what docs/proof.md says, hours; PART=crash N=20 for one part at a count
	@set -e; for part in $(or $(PART),$(PROOFS)); do (cd prove && $(GO) run ./$$part $(if $(N),-n $(N))); done

clean: ## remove what the targets above leave behind
	rm -rf bin cover.out
