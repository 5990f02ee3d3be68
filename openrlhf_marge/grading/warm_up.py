"""Expressions that the grader's warm process reads once at its start, most of its seconds of CPU.

ANTLR works out its tables as it meets new sequences of tokens, up to 0.3 s for one expression; afterwards the same
takes milliseconds. They are of the kinds that answers in school and college mathematics have.
"""

EXPRESSIONS = r"""
2 x^{4}-x^{3}-4 x+2
(x + 3) (x^{2} - 4 x + 3)^{2}
-\frac{1}{2} x+\frac{3}{4}
\frac{2 x+3}{(x-1) (x+4)}
\frac{x^{2} (8 y + 7) - 8 x (8 y + 7)}{8 y + 7}
-\frac{2 \sqrt{5}}{5}+\sqrt[3]{x^{2}} y
x^{\frac{5}{6}} y^{-2}+x_{1}-x_{12}
a_1 b+a_{1}
{\sin{2 x}} {\cos{x}} / 4+c
e^{-x / 2} (c_{1} {\cos{3 x}}+c_{2} {\sin{\frac{3 x}{2}}})
\sin x^{2}+\cos ^{2} x \tan x
\ln \sqrt{3}+\frac{1}{2} {\ln{x+1}}
\frac{1}{8}\ln |1-4 / x^{2}|+c
\log_{2} 3+{\log_{10}{100}}
{\log _{2}{\frac{x}{y}}}
\binom{10}{3}+5!+(n+1)!-n!
\frac{n !}{2 k (n-k) !}
2^{n+1}-2 \cdot 2^{n}+(-1)^{n} x
\lfloor 3.7 \rfloor+\lceil 2.1 \rceil+|-5|
\sum_{k=1}^{10} k^{2}+\prod_{k=1}^{3} k
\frac{d}{d x} x^{2}
\int_{0}^{1} x^{2} d x
\int \frac{1}{x} dx
\lim_{x \to 0} \frac{{\sin{x}}}{x}
\frac{4 \pi}{3} r^{3}-\pi / 6
1 / (2 (2+3 x)^{2})
(5-4 x) / ((2 x+1)^{2} (x-3)^{2})
e^{i \pi}+3 i+\frac{5+i \sqrt{105}}{5}
x \sqrt{x^{2}-1} / 2-\ln |x+\sqrt{x^{2}-1}| / 2+c
\frac{\sec ^{2} x (1+\sin x)-\tan x \cos x}{(1+\sin x)^{2}}
-6 {\cos{{\cos{6 x}}}} {\sin{6 x}}
\sinh^{-1} a+{\tanh{a}}+\arcsin x
\alpha+2 \theta-\frac{\beta}{\lambda_{1}}
3.5 x+0.25-1.5 \cdot 10^{2}
\frac{\sqrt{\sqrt{11}+\sqrt{194}}}{15+2 \sqrt{33}}
\frac{b^{\frac{7}{4}} a^{\frac{3}{4}}}{3}
-x e^{x} {\sin{2 x}}+c_{1}+c_{2} e^{x}
10 n \sqrt{n}-x y z
-x^{2 y}+a^{2} b^{3} c
-(\frac{5 \sqrt{2 x y}}{8 y^{3}})
\sqrt[12]{a^{8} b^{7} c^{4}}
c_{1} e^{-x / 3}+c_{2} \cos x+c_{3} \sin x
e^{x} (c_{1} \cos \sqrt{3} x+c_{2} \sin \frac{5 x}{2})
x (c_{1} {\cos{2 \ln x}}+c_{2} {\sin{2 \ln x}})
\ln (\frac{x^{3}}{y z^{2}})-\log _{3}(\frac{x y}{z})
\frac{4}{5 x^{2}}+c_{1} x+\frac{c_{2}}{x^{3}}-\frac{1}{3} u_{1}
x / 3-{\sin{4 x}} / 6+c
-\frac{3}{4} \cos 8 t-\frac{1}{2} \sin 8 t
\sqrt{5} x / 3+2 / 3-\sqrt{5} \pi / 4
\frac{\ln 7}{3 \ln 2}-\frac{-1+n}{2}
(x^{2}+3) (x^{4}-5 x^{2}+2 x-1)-x^{3} (2 x^{5}+4)
\frac{\sqrt{y} {\sin{\sqrt{y}}} {\cos{\sqrt{y}}}}{y}
""".strip().split("\n")
