# Everything is built below build/, nothing elsewhere. `make help` lists the targets.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-builtin-rules

ROOT      := $(CURDIR)
CC        ?= gcc
CXX       ?= g++
ifeq ($(origin CC),default)
CC        := gcc
endif
ifeq ($(origin CXX),default)
CXX       := $(if $(findstring clang,$(CC)),clang++,g++)
endif
# The distribution's nginx source (package nginx-dev), or any nginx source tree.
DISTRO_NGINX := /usr/share/nginx/src
NGINX_SRC ?= $(DISTRO_NGINX)
CC_OPT    ?= -g -O2 -fPIC -Wall -Wextra
LD_OPT    ?= -Wl,-z,relro -Wl,-z,now -fPIC

BUILD     := $(ROOT)/build
# One directory per compiler and nginx source: build/gcc, build/clang, build/gcc-nginx-1.30.0 …
OBJS      := $(BUILD)/$(notdir $(CC))$(if $(filter-out $(DISTRO_NGINX),$(NGINX_SRC)),-$(notdir $(NGINX_SRC:/=)))
MODULE    := $(OBJS)/ngx_http_llm_module.so
# The module looks for its tokenizer images in a directory of its own name beside it.
IMAGE_DIR := $(MODULE:.so=)
SOURCES   := $(wildcard src/*/*.cpp src/*/*.hpp src/*/*/*.cpp src/*/*/*.hpp)
JOBS      ?= $(shell nproc)

# The tokenizer's tables: one image per encoding, made once from the published rank files (npm).
TOKENIZER      := $(BUILD)/tokenizer
TOKENIZER_SRCS := $(wildcard src/llm/tokenizer/*.cpp)
TOKENIZER_HDRS := $(wildcard src/llm/tokenizer/*.hpp)
IMAGES         := $(addprefix $(TOKENIZER)/,o200k_base.image cl100k_base.image qwen2.image)
TOOL_FLAGS     := -std=c++20 -O2 -Wall -Wextra -Werror -Isrc
COUNT_SRCS     := $(filter-out %/prompt_count.cpp %/tool_tokens.cpp,$(TOKENIZER_SRCS))

.PHONY: help bootstrap build run test unit sanitize bench bench-tokens bench-cost bench-ledger bench-spend clean install

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bootstrap:  ## install what is missing (apt-get)
	scripts/bootstrap build test

build: $(MODULE) $(IMAGE_DIR)  ## build ngx_http_llm_module.so (CC=clang, NGINX_SRC=dir)
	@echo "built $(MODULE)"

$(MODULE): $(OBJS)/Makefile $(SOURCES)
	cd $(NGINX_SRC) && $(MAKE) -s -j$(JOBS) -f $(OBJS)/Makefile modules
	@touch $@

$(IMAGE_DIR): $(OBJS)/Makefile $(IMAGES)
	@ln -sfn $(TOKENIZER) $@

# A room's time tells of files that came or went.
$(OBJS)/Makefile: config config.make $(sort $(dir $(SOURCES)))
	scripts/configure "$(NGINX_SRC)" "$(OBJS)" "$(CC)" "$(CC_OPT)" "$(LD_OPT)"

$(BUILD)/tokenizer-image: scripts/tokenizer_image.cpp $(TOKENIZER_HDRS)
	@mkdir -p $(@D)
	$(CXX) $(TOOL_FLAGS) $< -lcrypto -o $@

$(IMAGES) &: $(BUILD)/tokenizer-image scripts/build-tokenizer-tables scripts/huggingface-ranks.mjs \
             $(wildcard src/llm/tokenizer/unicode-*.txt)
	scripts/build-tokenizer-tables $< $(TOKENIZER)

$(BUILD)/count-tokens: t/support/count_tokens.cpp $(COUNT_SRCS) $(TOKENIZER_HDRS) | $(IMAGES)
	@mkdir -p $(@D)
	$(CXX) $(TOOL_FLAGS) $(filter %.cpp,$^) -o $@

$(BUILD)/bench-tokens: t/bench/tokens.cpp $(COUNT_SRCS) $(TOKENIZER_HDRS)
	@mkdir -p $(@D)
	$(CXX) $(TOOL_FLAGS) $(filter %.cpp,$^) -o $@

bench-tokens: $(BUILD)/bench-tokens $(IMAGES)  ## token counting beside tiktoken, MB/s on one core
	@test -d $(BUILD)/corpora/packages || scripts/token-corpora $(BUILD)/corpora
	$(BUILD)/venv/bin/python scripts/bench-tokens $(BUILD)/bench-tokens $(TOKENIZER) $(BUILD)/corpora

bench: build  ## the gateway beside plain nginx: CPU, throughput, latency beside long prompts
	scripts/bootstrap bench
	$(BUILD)/venv/bin/python t/bench/gateway.py

# Prices: the cost of what a line of JSON says, for the tests, and a benchmark.
COST_SRCS := $(addprefix src/llm/,cost_query.cpp decimal.cpp json_escape.cpp json_scan.cpp model_price.cpp off_peak.cpp \
             price_entry.cpp price_field.cpp price_reader.cpp prices.cpp response_json.cpp \
             response_node.cpp response_tap.cpp response_usage.cpp sse.cpp usage.cpp usage_counts.cpp usd.cpp) \
             $(COUNT_SRCS)

$(BUILD)/cost: t/support/cost.cpp $(COST_SRCS) $(wildcard src/llm/*.hpp)
	@mkdir -p $(@D)
	$(CXX) $(TOOL_FLAGS) $(filter %.cpp,$^) -lyajl -lcrypto -o $@

$(BUILD)/bench-cost: t/bench/cost.cpp $(COST_SRCS) $(wildcard src/llm/*.hpp)
	@mkdir -p $(@D)
	$(CXX) $(TOOL_FLAGS) $(filter %.cpp,$^) -lyajl -lcrypto -o $@

bench-cost: $(BUILD)/bench-cost  ## loading the price map, and one cost
	$< conf/model_prices.json

SPOOL_SRCS := $(addprefix src/spend/,row.cpp disk_sync.cpp segment.cpp spool_room.cpp spool.cpp) \
              $(addprefix src/llm/,json_writer.cpp request_id.cpp usage.cpp)

$(BUILD)/bench-spool: t/bench/spool.cpp $(SPOOL_SRCS) $(wildcard src/spend/*.hpp src/llm/*.hpp)
	@mkdir -p $(@D)
	$(CXX) $(TOOL_FLAGS) $(filter %.cpp,$^) -lpthread -o $@

bench-spend: build $(BUILD)/bench-spool  ## spend rows: the log phase, and into Postgres
	$(BUILD)/venv/bin/python t/bench/spend.py $(BUILD)/bench-spool

# The ledger: shared memory, and the script in a Redis.
LEDGER_SRCS := $(addprefix src/ledger/,ledger.cpp window.cpp book.cpp book_holds.cpp book_notices.cpp \
               counter_id.cpp redis_lua.cpp redis_script.cpp time_zone.cpp) src/llm/request_id.cpp

$(BUILD)/bench-ledger: t/bench/ledger.cpp $(LEDGER_SRCS) $(wildcard src/ledger/*.hpp src/io/redis_*.hpp)
	@mkdir -p $(@D)
	$(CXX) $(TOOL_FLAGS) $(filter %.cpp,$^) -lhiredis -lcrypto -o $@

bench-ledger: $(BUILD)/bench-ledger  ## reserve and settle per second, in shared memory and Redis
	scripts/bench-ledger $<

# Unit tests: the rooms that know nothing of nginx.
PURE_SRCS := $(addprefix src/ledger/,ledger.cpp window.cpp book.cpp book_holds.cpp book_notices.cpp \
             alert_times.cpp budget_step.cpp counter_id.cpp limit_rule.cpp redis_url.cpp time_zone.cpp) \
             $(addprefix src/io/,redis_address.cpp redis_error.cpp redis_servers.cpp) \
             $(addprefix src/spend/,row.cpp disk_sync.cpp refusal_sums.cpp segment.cpp spool_room.cpp spool.cpp \
             spool_reader.cpp columns.cpp) \
             src/module/restoration.cpp
UNIT_SRCS := $(wildcard src/llm/*.cpp src/llm/tokenizer/*.cpp src/keys/*.cpp) $(PURE_SRCS) $(wildcard t/unit/*.cpp)
UNIT_OBJS  = $(UNIT_SRCS:%.cpp=$(BUILD)/unit/%.o)
UNIT_FLAGS = -std=c++20 -g -O1 -Wall -Wextra -Werror -Isrc -MMD -MP \
             -fsanitize=address,undefined -fno-sanitize-recover=all

unit: $(BUILD)/unit/tests $(IMAGES)  ## GoogleTest of the pure rooms, under ASan and UBSan
	$(BUILD)/unit/tests --gtest_brief=1

$(BUILD)/unit/tests: $(UNIT_OBJS)
	@$(CXX) $(UNIT_FLAGS) $^ -lgtest -lgtest_main -lyajl -lcrypto -lpthread -o $@

$(BUILD)/unit/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CXX) $(UNIT_FLAGS) -c $< -o $@

-include $(UNIT_OBJS:.o=.d)

test:  ## install what is missing, unit tests, then pytest with nginx, Redis, Postgres, SDKs
	scripts/bootstrap build test
	$(MAKE) unit build $(BUILD)/count-tokens $(BUILD)/cost
	scripts/run-tests

# The module alone is instrumented; stock nginx runs with the runtimes preloaded.
SANITIZE := -fsanitize=address,undefined -fno-omit-frame-pointer

sanitize: unit $(BUILD)/count-tokens $(BUILD)/cost  ## all tests with the module under ASan and UBSan
	$(MAKE) build CC=gcc OBJS=$(BUILD)/sanitize CC_OPT="-g -O1 -fPIC $(SANITIZE)" LD_OPT="-fPIC $(SANITIZE)"
	LLM_MODULE=$(BUILD)/sanitize/ngx_http_llm_module.so \
	LLM_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	scripts/run-tests

run: ## build and start the gateway on 127.0.0.1:4000 with a mock provider
	scripts/quickstart

MODULES_DIR := $(DESTDIR)/usr/lib/nginx/modules

install: build  ## copy the module and its images where nginx looks for them (DESTDIR)
	install -D -m 0644 $(MODULE) $(MODULES_DIR)/$(notdir $(MODULE))
	install -D -m 0644 -t $(MODULES_DIR)/$(notdir $(IMAGE_DIR)) $(IMAGES)

clean:  ## remove everything that was built
	rm -rf $(BUILD)
