// A process with any name and arguments, that stays.
#include <unistd.h>
int main(void) {
    for (;;) pause();
}
