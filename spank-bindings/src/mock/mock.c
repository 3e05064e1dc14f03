/*
 * Stand-ins for Slurm's functions, for tests: C, because two kinds of them take a variable number
 * of arguments. Each hands what it was given to a Rust function in mock.rs; the types are written
 * out here so that no header of Slurm is needed.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

extern void pyxis_mock_log(int level, const char *line);
extern uint32_t pyxis_mock_item(uint32_t item, uint64_t id, void *first, void *second);
extern int pyxis_mock_remote(void);
extern uint32_t pyxis_mock_context(void);
extern uint32_t pyxis_mock_getenv(int control, const char *name, char *buffer, int length);
extern uint32_t pyxis_mock_setenv(int control, const char *name, const char *value, int overwrite);
extern uint32_t pyxis_mock_unsetenv(int control, const char *name);
extern uint32_t pyxis_mock_register(void *option);
extern uint32_t pyxis_mock_getopt(void *option, char **arg);
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
LOG(slurm_debug2, 4)
LOG(slurm_debug3, 5)
LOG(slurm_spank_log, 6)

/* The items that take an id before the pointer: 15 and 16 a pid, 17 and 18 a task id. */
uint32_t spank_get_item(void *spank, uint32_t item, ...)
{
    va_list args;
    uint64_t id = 0;
    void *first, *second = NULL;

    (void)spank;
    va_start(args, item);
    if (item == 15 || item == 16)
        id = (uint64_t)va_arg(args, int);
    else if (item == 17 || item == 18)
        id = va_arg(args, uint32_t);
    first = va_arg(args, void *);
    if (item == 9 || item == 19)
        second = va_arg(args, void *);
    va_end(args);
    return pyxis_mock_item(item, id, first, second);
}

int spank_remote(void *spank)
{
    (void)spank;
    return pyxis_mock_remote();
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
    return pyxis_mock_getenv(0, name, buffer, length);
}

uint32_t spank_setenv(void *spank, const char *name, const char *value, int overwrite)
{
    (void)spank;
    return pyxis_mock_setenv(0, name, value, overwrite);
}

uint32_t spank_unsetenv(void *spank, const char *name)
{
    (void)spank;
    return pyxis_mock_unsetenv(0, name);
}

uint32_t spank_job_control_getenv(void *spank, const char *name, char *buffer, int length)
{
    (void)spank;
    return pyxis_mock_getenv(1, name, buffer, length);
}

uint32_t spank_job_control_setenv(void *spank, const char *name, const char *value, int overwrite)
{
    (void)spank;
    return pyxis_mock_setenv(1, name, value, overwrite);
}

uint32_t spank_job_control_unsetenv(void *spank, const char *name)
{
    (void)spank;
    return pyxis_mock_unsetenv(1, name);
}

uint32_t spank_option_register(void *spank, void *option)
{
    (void)spank;
    return pyxis_mock_register(option);
}

uint32_t spank_option_getopt(void *spank, void *option, char **arg)
{
    (void)spank;
    return pyxis_mock_getopt(option, arg);
}

uint32_t spank_prepend_task_argv(void *spank, int argc, const char **argv)
{
    (void)spank;
    return pyxis_mock_prepend(argc, argv);
}
