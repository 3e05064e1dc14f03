/* Stands in for srun on another processor: has what the plugin wants of Slurm, loads it as Slurm does, calls its first hook and
 * prints the options that it registers. host API PLUGIN */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct spank_option {
	char *name, *arginfo, *usage;
	int has_arg, val;
	void *callback;
};

static long api;
static int options;

long slurm_api_version(void) { return api << 16; }

static void say(const char *format, va_list list)
{
	vprintf(format, list);
	printf("\n");
}
#define SAYS(name) void name(const char *format, ...) { va_list list; va_start(list, format); say(format, list); va_end(list); }
SAYS(slurm_error)
SAYS(slurm_info)
SAYS(slurm_verbose)
SAYS(slurm_spank_log)

/* srun */
int spank_context(void) { return 1; }
int spank_option_register(void *spank, struct spank_option *option)
{
	printf("option %s\n", option->name);
	options++;
	return 0;
}
/* As in srun: not available in this context. */
int spank_get_item(void *spank, int item, ...) { return 3006; }
int spank_getenv(void *spank, const char *name, char *to, int length) { return 3006; }
int spank_setenv(void *spank, const char *name, const char *value, int overwrite) { return 3006; }
int spank_unsetenv(void *spank, const char *name) { return 3006; }

int main(int argc, char **argv)
{
	api = atol(argv[1]);
	void *plugin = dlopen(argv[2], RTLD_LAZY);
	if (!plugin) {
		printf("dlopen: %s\n", dlerror());
		return 1;
	}
	printf("name %s type %s version %#x\n", (char *) dlsym(plugin, "plugin_name"),
	       (char *) dlsym(plugin, "plugin_type"), *(unsigned *) dlsym(plugin, "plugin_version"));
	int (*init)(void *, int, char **) = dlsym(plugin, "slurm_spank_init");
	if (!init)
		return 0;
	printf("init returns %d\n", init(NULL, 0, NULL));
	printf("%d options\n", options);
	return 0;
}
