# Builds the allocator, the drivers and the C tests; build.sh calls these same rules.
#
#   make larson_hakmem            one target, variant release
#   make VARIANT=asan all         everything in another variant: release, asan, tsan,
#                                 guard (every check of the allocator's own)
#   CC=clang CFLAGS=-O3 make all  another compiler, flags added to ours
#
# Every path is relative: the checkout may lie in a folder with a space in its name.

VARIANT ?= release
ifeq ($(filter $(VARIANT),release asan tsan guard),)
$(error VARIANT=$(VARIANT) is unknown; use release, asan, tsan or guard)
endif
OUT ?= out/$(VARIANT)
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(filter -j% --jobs%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:

comma := ,

# ---- flags ---------------------------------------------------------------------------------
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
COMMON   := -std=c11 -D_GNU_SOURCE -O2 -g -fno-omit-frame-pointer -pthread -fPIC $(WARNINGS)
ifeq ($(VARIANT),release)
COMMON   := $(filter-out -fno-omit-frame-pointer,$(COMMON)) -fno-plt
endif
# A compiler that knows malloc deletes unused pairs of malloc and free.
NO_BUILTIN := -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free

SANITIZE_release :=
SANITIZE_asan    := -fsanitize=address,undefined -fno-sanitize-recover=undefined
SANITIZE_tsan    := -fsanitize=thread
SANITIZE_guard   :=
SANITIZE := $(SANITIZE_$(VARIANT))

# The interposed names are never instrumented: they are called before a sanitizer's runtime is
# ready. The rest of the allocator is not instrumented by AddressSanitizer: it reads and writes links in freed
# blocks, which it has itself declared poisoned so that the program's use of them is reported.
ALLOC_SANITIZE_asan := -DHAKMEM_SANITIZED=1 -DHAKMEM_ASAN=1
ALLOC_SANITIZE_tsan := -DHAKMEM_SANITIZED=1 -DHAKMEM_WRAP=1 -fsanitize=thread
ALLOC_SANITIZE_guard := -DHAKMEM_GUARD=1 -DHAKMEM_DEBUG_OWNERSHIP=1 -DHAKMEM_DEBUG=1
ALLOC_FLAGS := $(COMMON) $(NO_BUILTIN) -fvisibility=hidden -ftls-model=initial-exec \
               -fasynchronous-unwind-tables -fno-semantic-interposition $(ALLOC_SANITIZE_$(VARIANT))
# The measuring rod is compiled as the allocator is, and no sanitizer watches it.
FLOOR_FLAGS := $(COMMON) $(NO_BUILTIN) -fvisibility=hidden -ftls-model=initial-exec -fno-semantic-interposition
DRIVER_FLAGS := $(COMMON) $(NO_BUILTIN) -Iworkloads/common $(SANITIZE)
TOOL_FLAGS := $(COMMON) -Iallocator/include $(SANITIZE)
TEST_FLAGS := $(COMMON) $(NO_BUILTIN) -Iallocator -Iallocator/include -Itests/c $(SANITIZE) \
              $(filter -D%,$(ALLOC_SANITIZE_$(VARIANT)))

COMPILER_NAME := $(shell $(CC) --version 2>/dev/null | head -n 1 | grep -q clang && echo clang || echo gcc)
COMPILER := $(COMPILER_NAME) $(shell $(CC) -dumpfullversion -dumpversion 2>/dev/null)
# A compiler for another machine, such as aarch64-linux-gnu-gcc: the C tests do without cmocka then,
# which would have to be installed for that machine. TEST_DEFINES=-DHAKMEM_SANITIZED=1 makes them
# as small as in the sanitizer builds, TEST_LDFLAGS=-static links them alone so.
CROSS := $(filter-out $(shell uname -m),$(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null))))
for_cross := $(if $(CROSS), for $(CROSS))
# musl-gcc, and compilers that bring musl themselves: the same goes for its own C library.
WITHOUT_CMOCKA := $(CROSS)$(findstring musl,$(notdir $(CC)) $(shell $(CC) -dumpmachine 2>/dev/null))
TEST_FLAGS += $(if $(WITHOUT_CMOCKA),-DCHECK_PLAIN=1) $(TEST_DEFINES)
quote_c = $(subst ",\",$(subst \,\\,$(1)))
DRIVER_DEFINES = -DWORKLOAD_VARIANT='"$(VARIANT)"' -DWORKLOAD_COMPILER='"$(COMPILER)"' \
                 -DWORKLOAD_FLAGS='"$(call quote_c,$(filter-out -W% -I%,$(DRIVER_FLAGS)) $(CFLAGS))"'

# ---- places for make install ---------------------------------------------------------------
PREFIX     ?= $(or $(prefix),/usr/local)
BINDIR     ?= $(or $(bindir),$(PREFIX)/bin)
LIBDIR     ?= $(or $(libdir),$(PREFIX)/lib)
INCLUDEDIR ?= $(or $(includedir),$(PREFIX)/include)
DATADIR    ?= $(or $(datadir),$(PREFIX)/share)
MANDIR     ?= $(or $(mandir),$(DATADIR)/man)
quote_sh = '$(subst ','\'',$(1))'

# ---- sources -------------------------------------------------------------------------------
ALLOC_SRC  := $(sort $(wildcard allocator/*/*.c))
COMMON_SRC := $(sort $(wildcard workloads/common/*.c))
TOOL_SRC   := $(sort $(wildcard tool/*.c))
TEST_SRC   := $(sort $(wildcard tests/c/test_*.c))
obj = $(patsubst %.c,$(OUT)/obj/%.o,$(1))
ALLOC_OBJ  := $(call obj,$(ALLOC_SRC))
FLOOR_OBJ  := $(call obj,$(sort $(wildcard workloads/floor/*.c)))
COMMON_OBJ := $(call obj,$(COMMON_SRC))
TOOL_OBJ   := $(call obj,$(TOOL_SRC))

WORKLOADS  := larson bench_random_mixed xmalloc
WORKLOADS  += cache_thrash cache_scratch
WORKLOADS  += mstress thread_churn
WORKLOADS  += pareto large growth
WORKLOADS  += replay
# The folder of a driver's sources, or several: its own and one that it shares with others.
folder_larson             := larson
folder_bench_random_mixed := random_mixed
folder_xmalloc            := xmalloc
folder_cache_thrash       := cache_thrash false_sharing
folder_cache_scratch      := cache_scratch false_sharing
folder_mstress            := mstress
folder_thread_churn       := thread_churn
folder_pareto             := pareto
folder_large              := large
folder_growth             := growth
folder_replay             := replay
# Sources of other folders that a driver needs as well: the replay's, what reads a trace.
more_replay := $(addprefix workloads/trace/,trace_input.c trace_read.c trace_image.c trace_cursor.c trace_blocks.c)
driver_obj = $(call obj,$(sort $(foreach f,$(folder_$(1)),$(wildcard workloads/$(f)/*.c)) $(more_$(1))))

# ---- the other allocators: library, and the Debian package that brings it -------------------
BASELINES := mimalloc jemalloc tcmalloc tbbmalloc
lib_mimalloc  := libmimalloc.so.2
lib_jemalloc  := libjemalloc.so.2
lib_tcmalloc  := libtcmalloc_minimal.so.4
lib_tbbmalloc := libtbbmalloc_proxy.so.2
package_mimalloc  := libmimalloc2.0
package_jemalloc  := libjemalloc2
package_tcmalloc  := libtcmalloc-minimal4
package_tbbmalloc := libtbbmalloc2
# The compiler knows where the system keeps its libraries; it echoes the bare name of one it can't find.
find_lib = $(filter /%,$(shell $(CC) -print-file-name=$(lib_$(1))))
$(foreach a,$(BASELINES),$(eval path_$(a) := $(call find_lib,$(a))))
FOUND := $(foreach a,$(BASELINES),$(if $(path_$(a)),$(a)))
MISSING := $(filter-out $(FOUND),$(BASELINES))
ALLOCATORS := hakmem system floor $(BASELINES)

LIBRARIES := libhakmem.so libhakmem.a libfloor.so
# The version stands in the header and nowhere else; the number before the first dot changes when a
# program linked with the older library may not run with the newer one.
VERSION := $(shell sed -n 's/^.define HAKMEM_VERSION "\([0-9.]*\)"$$/\1/p' allocator/include/hakmem.h)
SONAME := libhakmem.so.$(firstword $(subst ., ,$(VERSION)))
# Programs that try an allocator hard: linked as the drivers are, and as NAME_plain with nothing, so
# that any allocator can be preloaded.
STRESS := stress never_allocating after_work
stress_obj = $(call obj,$(addprefix tests/stress/,$(stress_src_$(1)) common.c))
stress_src_stress           := stress.c lane.c shared.c block.c
stress_src_never_allocating := never_allocating.c
stress_src_after_work      := after_work.c
STRESS_BOTH := $(STRESS) $(STRESS:=_plain)
# Programs that count the work of calls, and stop threads in the middle of them: linked with objects
# of the allocator in which every basic block calls them (tests/bounds/steps.h).
BOUNDS := bounds_scale bounds_points
bounds_src_bounds_scale  := scale.c worst.c steps.c
bounds_src_bounds_points := points.c rounds.c steps.c
# This one is linked as the drivers are.
bounds_src_bounds_signals := signals.c
BOUNDS_ALL := $(BOUNDS) bounds_signals
bounds_obj = $(call obj,$(addprefix tests/bounds/,$(bounds_src_$(1))) tests/stress/common.c)
STEPS_OBJ := $(patsubst %.c,$(OUT)/obj/steps/%.o,$(ALLOC_SRC))
DRIVERS := $(foreach w,$(WORKLOADS),$(foreach a,$(ALLOCATORS),$(w)_$(a)))
DRIVERS_FOUND := $(foreach w,$(WORKLOADS),$(foreach a,hakmem system floor $(FOUND),$(w)_$(a)))
TESTS := $(patsubst tests/c/%.c,%,$(TEST_SRC))
# What measures real programs, and what is preloaded into them beside the allocator.
PROGRAM_TOOLS := run_program libwl_witness.so
programs_obj = $(call obj,$(addprefix workloads/programs/,$(addsuffix .c,$(1))))
# What records a program's allocation calls, and what reads that.
TRACE_TOOLS := libhakmem-trace.so trace_info
trace_obj = $(call obj,$(addprefix workloads/trace/,$(addsuffix .c,$(1))))
TRACE_RECORD_OBJ := $(call trace_obj,calls operators next recorder process trace_file settings say)
TRACE_READ_OBJ := $(call trace_obj,trace_input trace_read trace_image trace_cursor trace_blocks)

.PHONY: all tests clean list install uninstall note-missing hakmem $(DRIVERS) $(LIBRARIES) $(TESTS) $(STRESS_BOTH) $(BOUNDS_ALL) $(PROGRAM_TOOLS) $(TRACE_TOOLS)
all: $(LIBRARIES) hakmem $(DRIVERS_FOUND) $(if $(SANITIZE),,$(PROGRAM_TOOLS) $(TRACE_TOOLS)) note-missing
note-missing:
ifneq ($(MISSING),)
	@echo "make: left out because not installed$(for_cross): $(foreach a,$(MISSING),$(a) (package $(package_$(a))))" >&2
endif
hakmem $(DRIVERS) $(LIBRARIES) $(STRESS_BOTH) $(BOUNDS_ALL) $(PROGRAM_TOOLS) $(TRACE_TOOLS): %: $(OUT)/%
tests: $(TESTS)
$(TESTS): %: $(OUT)/tests/%
clean:
	rm -rf out
list:
	@printf '%s\n' all tests clean install uninstall hakmem $(LIBRARIES) $(DRIVERS) $(TESTS) $(STRESS_BOTH) $(BOUNDS_ALL) $(PROGRAM_TOOLS) $(TRACE_TOOLS)

# ---- rules ---------------------------------------------------------------------------------
# Rewritten only when the compiler or a flag changed, so that objects are rebuilt then.
FLAGS_NOW := $(CC) | $(COMPILER) | $(ALLOC_FLAGS) | $(FLOOR_FLAGS) | $(DRIVER_FLAGS) | $(TEST_FLAGS) | $(TOOL_FLAGS) | $(CPPFLAGS) $(CFLAGS) | $(LDFLAGS)
.PHONY: force
$(OUT)/flags: force
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' > $@

$(OUT)/obj/allocator/%.o: allocator/%.c $(OUT)/flags Makefile
	@mkdir -p $(@D)
	$(CC) $(if $(findstring /interpose/,$<),$(filter-out -fsanitize=%,$(ALLOC_FLAGS)),$(ALLOC_FLAGS)) -Iallocator -Iallocator/include $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(OUT)/obj/steps/allocator/%.o: allocator/%.c $(OUT)/flags Makefile
	@mkdir -p $(@D)
	$(CC) $(ALLOC_FLAGS) -fsanitize-coverage=trace-pc -Iallocator -Iallocator/include $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(OUT)/obj/workloads/%.o: workloads/%.c $(OUT)/flags Makefile
	@mkdir -p $(@D)
	$(CC) $(DRIVER_FLAGS) $(DRIVER_DEFINES) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(OUT)/obj/workloads/floor/%.o: workloads/floor/%.c $(OUT)/flags Makefile
	@mkdir -p $(@D)
	$(CC) $(FLOOR_FLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
# Where the command looks for the library; of its files this one alone is rebuilt when PREFIX changes.
LIBRARY_PLACES = -DLIBRARY_SONAME='"$(SONAME)"' -DLIBRARY_MULTIARCH='"$(MULTIARCH)"' \
                 -DLIBRARY_FOLDER=$(call quote_sh,"$(call quote_c,$(LIBDIR))")
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
$(OUT)/places: force
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote_sh,$(LIBRARY_PLACES)) | cmp -s - $@ || printf '%s\n' $(call quote_sh,$(LIBRARY_PLACES)) > $@
$(OUT)/obj/tool/library.o: $(OUT)/places
$(OUT)/obj/tool/%.o: tool/%.c $(OUT)/flags Makefile
	@mkdir -p $(@D)
	$(CC) $(TOOL_FLAGS) $(if $(findstring /library.o,$@),$(LIBRARY_PLACES)) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(OUT)/obj/tests/%.o: tests/%.c $(OUT)/flags Makefile
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# What is exported is what HAKMEM_API marks; all else is hidden (-fvisibility). The names carry no
# symbol version: a program asks for malloc@GLIBC_x, which the loader finds under an unversioned
# name but not under a version of ours, so that a preloaded library with one would serve nobody.
# Programs that link with the library look for the soname, and find it beside it.
# nodelete: dlclose may not unmap what every thread calls when it ends, and what blocks are freed by.
$(OUT)/libhakmem.so: $(ALLOC_OBJ)
	$(CC) -shared -pthread -Wl,-soname,$(SONAME) -Wl,-z,relro,-z,now,-z,nodelete $(ALLOC_LINK_$(VARIANT)) $(LDFLAGS) $^ -o $@
	@ln -sf libhakmem.so $(@D)/$(SONAME)
ALLOC_LINK_tsan := -fsanitize=thread
$(OUT)/libhakmem.a: $(ALLOC_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

# The floor under all allocators, linked with the drivers as the library is.
$(OUT)/libfloor.so: $(FLOOR_OBJ)
	$(CC) -shared -pthread -Wl,-soname,libfloor.so -Wl,-z,relro,-z,now $(LDFLAGS) $^ -o $@

# The command that puts the library under a program.
$(OUT)/hakmem: $(TOOL_OBJ)
	$(CC) $(SANITIZE) $(LDFLAGS) $^ -o $@

# A sanitizer's runtime brings a malloc of its own; only one in the program itself comes before it.
# ThreadSanitizer's has to keep its own, too: there the linker leads the program's calls to ours.
WRAPPED := malloc free calloc realloc reallocarray aligned_alloc memalign posix_memalign valloc \
           pvalloc malloc_usable_size free_sized free_aligned_sized cfree malloc_trim mallinfo \
           mallinfo2 malloc_info malloc_stats mallopt
WRAP_tsan := $(foreach f,$(WRAPPED),-Wl,--wrap=$(f))
ifneq ($(filter $(VARIANT),release guard),)
hakmem_need := $(OUT)/libhakmem.so
hakmem_link := -Wl,--no-as-needed $(OUT)/libhakmem.so -Wl,--as-needed -Wl,-rpath,'$$ORIGIN'
else
hakmem_need := $(ALLOC_OBJ)
hakmem_link := $(ALLOC_OBJ) $(WRAP_$(VARIANT))
endif
$(foreach a,$(BASELINES),$(eval $(a)_need := $(path_$(a))))
floor_need := $(OUT)/libfloor.so
floor_link := -Wl,--no-as-needed $(OUT)/libfloor.so -Wl,--as-needed -Wl,-rpath,'$$ORIGIN'

define driver_rule
$(OUT)/$(1)_$(2): $(call driver_obj,$(1)) $(COMMON_OBJ) $($(2)_need)
	$(if $(filter $(2),$(MISSING)),@echo "make: $(lib_$(2)) was not found$(for_cross); install the package $(package_$(2)) to build $(1)_$(2)" >&2; exit 1,$$(CC) $(SANITIZE) -pthread $$(LDFLAGS) $(call driver_obj,$(1)) $(COMMON_OBJ) $(if $(filter hakmem floor,$(2)),$(subst $$,$$$$,$($(2)_link)),$(if $(path_$(2)),-Wl$(comma)--no-as-needed $(path_$(2)) -Wl$(comma)--as-needed)) -ldl -lm -o $$@)
endef
$(foreach w,$(WORKLOADS),$(foreach a,$(ALLOCATORS),$(eval $(call driver_rule,$(w),$(a)))))

run_program_obj := $(call programs_obj,run_program process_tree) $(COMMON_OBJ)
witness_obj := $(call programs_obj,witness bindings) $(call obj,$(addprefix workloads/common/,wl_provider.c wl_process.c wl_fail.c))
$(OUT)/run_program: $(run_program_obj)
	$(CC) $(SANITIZE) -pthread $(LDFLAGS) $^ -ldl -lm -o $@
$(OUT)/libwl_witness.so: $(witness_obj) workloads/programs/witness.map
	$(CC) $(SANITIZE) -shared -Wl,--version-script=workloads/programs/witness.map $(LDFLAGS) $(witness_obj) -ldl -o $@

# The recorder stands before any allocator, and takes no other name from the program.
$(TRACE_RECORD_OBJ): DRIVER_FLAGS += -fvisibility=hidden -fasynchronous-unwind-tables
$(OUT)/libhakmem-trace.so: $(TRACE_RECORD_OBJ)
	$(CC) -shared -pthread -Wl,-soname,libhakmem-trace.so -Wl,-z,relro,-z,now,-z,nodelete $(LDFLAGS) $^ -ldl -o $@
trace_info_obj := $(call trace_obj,trace_info) $(TRACE_READ_OBJ) $(call obj,workloads/common/wl_fail.c)
$(OUT)/trace_info: $(trace_info_obj)
	$(CC) $(SANITIZE) $(LDFLAGS) $^ -o $@

$(OUT)/tests/%: $(OUT)/obj/tests/c/%.o $(ALLOC_OBJ)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) -pthread $(LDFLAGS) $(TEST_LDFLAGS) $^ $(WRAP_$(VARIANT)) $(if $(WITHOUT_CMOCKA),,-lcmocka) -ldl -o $@

define stress_rule
$(OUT)/$(1): $(call stress_obj,$(1)) $(hakmem_need)
	$$(CC) $(SANITIZE) -pthread $$(LDFLAGS) $(call stress_obj,$(1)) $(subst $$,$$$$,$(hakmem_link)) -lm -o $$@
$(OUT)/$(1)_plain: $(call stress_obj,$(1))
	$$(CC) $(SANITIZE) -pthread $$(LDFLAGS) $(call stress_obj,$(1)) -lm -o $$@
endef
$(foreach s,$(STRESS),$(eval $(call stress_rule,$(s))))
define bounds_rule
$(OUT)/$(1): $(call bounds_obj,$(1)) $(STEPS_OBJ)
	$$(CC) $(SANITIZE) -pthread $$(LDFLAGS) $$^ $(WRAP_$(VARIANT)) -o $$@
endef
$(foreach b,$(BOUNDS),$(eval $(call bounds_rule,$(b))))
$(OUT)/bounds_signals: $(call bounds_obj,bounds_signals) $(hakmem_need)
	$(CC) $(SANITIZE) -pthread $(LDFLAGS) $(call bounds_obj,bounds_signals) $(hakmem_link) -o $@
.SECONDARY:

# ---- installing ----------------------------------------------------------------------------
#   make install PREFIX=/usr DESTDIR=/tmp/package LIBDIR=/usr/lib/x86_64-linux-gnu
# DESTDIR is put before every path and is written into no file. uninstall removes what was
# installed below the same PREFIX and DESTDIR.
INSTALL_SETTINGS = OUT=$(call quote_sh,$(OUT)) VERSION=$(VERSION) SONAME=$(SONAME) \
    $(foreach v,DESTDIR PREFIX BINDIR LIBDIR INCLUDEDIR DATADIR MANDIR,$(v)=$(call quote_sh,$($(v))))
install: $(OUT)/libhakmem.so $(OUT)/libhakmem.a $(OUT)/hakmem $(if $(SANITIZE),,$(OUT)/libhakmem-trace.so $(OUT)/trace_info)
	@$(INSTALL_SETTINGS) packaging/install.sh install
uninstall:
	@$(INSTALL_SETTINGS) packaging/install.sh uninstall

-include $(patsubst %.o,%.d,$(ALLOC_OBJ) $(FLOOR_OBJ) $(COMMON_OBJ) $(TOOL_OBJ) $(foreach w,$(WORKLOADS),$(call driver_obj,$(w))) $(call obj,$(TEST_SRC)) $(foreach s,$(STRESS),$(call stress_obj,$(s))) $(STEPS_OBJ) $(foreach b,$(BOUNDS_ALL),$(call bounds_obj,$(b))) $(call programs_obj,run_program process_tree witness bindings) $(TRACE_RECORD_OBJ) $(TRACE_READ_OBJ) $(call trace_obj,trace_info))
