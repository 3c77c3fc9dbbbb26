# Each target sees to it first that the checkout is ready to run (tools/bootstrap).
.DEFAULT_GOAL := help
.PHONY: help demo test check site netns package soak bench kernel systemd format lock clean
CHECKS := format lint types imports map supply words spelling docs site

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: ## see a lease come, be renewed and go, on this machine alone (root)
	@tools/bootstrap
	@.venv/bin/python -m tools.demo

test: ## everything, on wireguard-go and two kernels; a test that cannot run here fails (root)
	@WG_DYNAMIC_REQUIRE_ALL=1 tools/stages $(CHECKS) tests coverage fuzz package harness guests

check: ## what to run before each commit: a minute or two, without root
	@tools/stages $(CHECKS) unit

site: ## the documentation as a site, in build/site
	@tools/stages site

netns: ## only the tests with namespaces and real WireGuard (root)
	@tools/stages netns

soak: ## for hours: defences taken out, kill the server under load, fuzz (FUZZ_SECONDS=600 each) (root)
	@tools/stages defences soak fuzz-soak

bench: ## the server beside Kea, dnsmasq and a bare server: docs/performance.md's table (root)
	@tools/bootstrap
	@bench/prepare
	@.venv/bin/python -m bench.server $(if $(QUICK),--quick)
	@.venv/bin/python -m bench.report

kernel: ## all tests with namespaces on two kernels of Debian, in QEMU: an hour (root)
	@tools/stages harness kernel

package: ## build the Debian package into dist and test it in a clean Debian 12; the wheel too (root)
	@tools/stages package
	@.venv/bin/python -m tools.debian_package

format: ## format the code, sort imports, fix what ruff can
	@tools/bootstrap
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

systemd: ## only the tests of the systemd units, in a guest with systemd (root)
	@tools/stages systemd

lock: ## lock the development tools of pyproject.toml anew (docs/decisions/0001)
	@tools/bootstrap
	@.venv/bin/uv pip compile --quiet --system-certs --no-config --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
		--group dev --output-file requirements/dev.txt

clean: ## remove what tools leave behind, .venv included
	@rm -rf .venv .bootstrap.lock .coverage* .fuzz .hypothesis .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache build dist htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
