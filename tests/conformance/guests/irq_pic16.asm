;@ real
;= r 8
;= r 1
;= r d
;= r 2
;= r 21
;= r 3
; The pair of 8259s in real mode, and interrupts by INT.
        bits 16
%include "common.inc"
        xor ax, ax
        mov ds, ax
        mov word [0x23 * 4], on3
        mov word [0x23 * 4 + 2], 0
        mov word [0x2d * 4], on13
        mov word [0x2d * 4 + 2], 0
        mov word [0x21 * 4], on21
        mov word [0x21 * 4 + 2], 0
        ; master at 20h, slave at 28h
        mov al, 0x11
        out 0x20, al
        out 0xa0, al
        mov al, 0x20
        out 0x21, al
        mov al, 0x28
        out 0xa1, al
        mov al, 4
        out 0x21, al
        mov al, 2
        out 0xa1, al
        mov al, 1
        out 0x21, al
        out 0xa1, al
        mov al, 0xf3                            ; IRQ 3 and the cascade
        out 0x21, al
        mov al, 0xdf                            ; IRQ 13
        out 0xa1, al
        sti
        LINE 3, 1
.wait3: cmp byte [taken], 1
        jb .wait3
        LINE 3, 0
        REPORT 1
        LINE 13, 1
.wait13: cmp byte [taken], 2
        jb .wait13
        LINE 13, 0
        REPORT 2
        int 0x21
        REPORT 3
        FINISH
on3:    push eax
        in al, 0x21                             ; the mask, to see that reads work: F3h
        and eax, 8 | 4
        xor eax, 8                              ; IRQ 3 is not masked: bit 3 clear, bit 2 clear
        REPORT
        mov al, 0x20
        out 0x20, al
        inc byte [taken]
        pop eax
        iret
on13:   push eax
        REPORT 13
        mov al, 0x20
        out 0xa0, al
        out 0x20, al
        inc byte [taken]
        pop eax
        iret
on21:   push eax
        REPORT 0x21
        pop eax
        iret
taken:  db 0
