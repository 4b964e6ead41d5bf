;@ real
;= out8 520 1
;= out8 520 2
;= out8 520 3
;= out16 520 504
;= out16 520 706
;= out32 520 b0a0908
;= out32 520 f0e0d0c
;= r f
;= in8 520
;= in8 520
;= in8 520
;= in8 520
;= in16 522
;= in16 522
;= in32 524
;= in32 524
;= r 10
;= r 23232323
;= r 56455645
;= r 9a897867
;= out32 530 8070605
;= out32 530 4030201
;= r 0
        bits 16
%include "common.inc"
%include "io_string.inc"
