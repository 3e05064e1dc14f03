/*
 * Stand-ins for Slurm's functions, for tests: C, because two kinds of them take a variable number
 * of arguments. Each hands what it was given to a Rust function in mock.rs; the types are written
 * out here so that no header of Slurm is needed.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

extern void pyxis_mock_log(int level, const char *line);
extern uint32_t pyxis_mock_item(uint32_t item, void *first, void *second);
extern uint32_t pyxis_mock_context(void);
extern uint32_t pyxis_mock_getenv(const char *name, char *buffer, int length);
extern uint32_t pyxis_mock_setenv(const char *name, const char *value, int overwrite);
extern uint32_t pyxis_mock_unsetenv(const char *name);
extern uint32_t pyxis_mock_register(void *option);
extern uint32_t pyxis_mock_prepend(int argc, const char **argv);

#define LOG(name, level)                                      \
    void name(const char *format, ...)                        \
    {                                                         \
        char line[1 << 16];                                   \
        va_list args;                                         \
        va_start(args, format);                               \
        vsnprintf(line, sizeof(line), format, args);          \
        va_end(args);                                         \
        pyxis_mock_log(level, line);                          \
    }

LOG(slurm_error, 0)
LOG(slurm_info, 1)
LOG(slurm_verbose, 2)
LOG(slurm_debug, 3)
LOG(slurm_spank_log, 6)

/* The items that take two pointers: 9 the arguments, 19 the groups. */
uint32_t spank_get_item(void *spank, uint32_t item, ...)
{
    va_list args;
    void *first, *second = NULL;

    (void)spank;
    va_start(args, item);
    first = va_arg(args, void *);
    if (item == 9 || item == 19)
        second = va_arg(args, void *);
    va_end(args);
    return pyxis_mock_item(item, first, second);
}

uint32_t spank_context(void)
{
    return pyxis_mock_context();
}

const char *spank_strerror(uint32_t error)
{
    return error ? "error" : "success";
}

int spank_symbol_supported(const char *symbol)
{
    (void)symbol;
    return 1;
}

uint32_t spank_getenv(void *spank, const char *name, char *buffer, int length)
{
    (void)spank;
    return pyxis_mock_getenv(name, buffer, length);
}

uint32_t spank_setenv(void *spank, const char *name, const char *value, int overwrite)
{
    (void)spank;
    return pyxis_mock_setenv(name, value, overwrite);
}

uint32_t spank_unsetenv(void *spank, const char *name)
{
    (void)spank;
    return pyxis_mock_unsetenv(name);
}

uint32_t spank_option_register(void *spank, void *option)
{
    (void)spank;
    return pyxis_mock_register(option);
}

uint32_t spank_prepend_task_argv(void *spank, int argc, const char **argv)
{
    (void)spank;
    return pyxis_mock_prepend(argc, argv);
}
