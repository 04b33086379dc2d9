// Virtual calls: one loop over shapes of three classes, and one over shapes of a single class. An exception
// passes through a relpoline as through any other call.
//
//     relpoline-clang++ -O2 -g shapes.cpp -o shapes
//     RELPOLINE_OPTIONS=stats=shapes.json ./shapes
//     cat shapes.json
//
// In shapes.json the site in total() is "polymorphic"; the one in squares(), which only ever meets squares,
// is "monomorphic".
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>

struct Shape {
    virtual ~Shape() = default;
    virtual long area() const = 0;
};

struct Square : Shape {
    long side;
    explicit Square(long side) : side(side) {}
    long area() const override { return side * side; }
};

struct Rectangle : Shape {
    long width, height;
    Rectangle(long width, long height) : width(width), height(height) {}
    long area() const override { return width * height; }
};

struct Broken : Shape {
    long area() const override { throw std::runtime_error("a shape without an area"); }
};

using Shapes = std::vector<std::unique_ptr<Shape>>;

__attribute__((noinline)) static long total(const Shapes &shapes) {
    long sum = 0;
    for (const auto &shape : shapes) {
        try {
            sum += shape->area();
        } catch (const std::runtime_error &) {
            sum += 1;
        }
    }
    return sum;
}

__attribute__((noinline)) static long squares(const Shapes &shapes) {
    long sum = 0;
    for (const auto &shape : shapes)
        sum += shape->area();
    return sum;
}

int main() {
    Shapes mixed, same;
    for (long size = 1; size <= 3000; size++) {
        if (size % 100 == 0)
            mixed.push_back(std::make_unique<Broken>());
        else if (size % 3 == 0)
            mixed.push_back(std::make_unique<Rectangle>(size, 2));
        else
            mixed.push_back(std::make_unique<Square>(size));
        same.push_back(std::make_unique<Square>(size));
    }
    long sum = 0;
    for (int round = 0; round < 10; round++)
        sum += total(mixed) + squares(same);
    std::printf("sum %ld\n", sum);
}
